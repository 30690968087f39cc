//! What all checks of a block's values have in common: what is asked, and how a set that differs is told.

use tlbench_sdk::judge::{applicable, ask_both, explain};
use tlbench_sdk::{
    Check, Divergence, Evaluation, ModelInfo, PluginError, Quantity, Severity, Stimulus, Verdict,
};

/// A check of each plain input on which `shown` finds something to ask both for; `what` names that.
pub(crate) fn of_plain_inputs(
    model: &ModelInfo,
    what: &str,
    shown: impl Fn(&Stimulus) -> Vec<Quantity>,
) -> Result<Vec<Check>, PluginError> {
    let plain = model.stimuli.iter().filter(|s| s.request.is_plain());
    let checks = plain.filter_map(|stimulus| {
        let capture = shown(stimulus);
        (!capture.is_empty()).then(|| ask_both(stimulus, capture))
    });
    applicable(checks.collect(), what)
}

/// A component `name` that chooses others than the reference, shown by `quantity`; `wrong` says how many do.
pub(crate) fn other_set(
    model: &ModelInfo,
    name: &str,
    quantity: Quantity,
    reason: String,
    wrong: String,
) -> Verdict {
    let verdict = Verdict::new(Severity::Danger, format!("{name}: {reason}"));
    let divergence = Divergence {
        quantity,
        evaluation: Evaluation::Cumulative,
        ratio: f64::INFINITY,
        reason,
    };
    let mut verdict = explain(verdict, model, &divergence).detail("wrong", wrong);
    verdict.first_divergence = Some(divergence);
    verdict
}
