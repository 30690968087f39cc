//! What benchmarks that compare ask, of which input, and what they were answered.

use crate::benchmark::{Check, ModelInfo, PlannedRequest};
use crate::error::PluginError;
use crate::hooks::layer_of;
use crate::reference::Stimulus;
use crate::tensor::Tensor;
use crate::trace::{Quantity, Trace, TraceRequest};

/// Those of `quantities` that the subject can be asked for: hooks that only the reference knows are not among them.
pub fn askable(model: &ModelInfo, quantities: &[Quantity]) -> Vec<Quantity> {
    let known = |quantity: &&Quantity| match quantity {
        Quantity::Hook(name) | Quantity::HookGradient(name) => {
            model.hooks.iter().any(|hook| hook.name == *name)
        }
        _ => true,
    };
    quantities.iter().filter(known).cloned().collect()
}

/// A check that asks reference and subject the question of `stimulus`, to see `capture`.
pub fn ask_both(stimulus: &Stimulus, capture: Vec<Quantity>) -> Check {
    let request = TraceRequest {
        capture,
        ..stimulus.request.clone()
    };
    Check {
        variant: stimulus.id.clone(),
        requests: vec![
            PlannedRequest::reference(request.clone()),
            PlannedRequest::subject(request),
        ],
    }
}

/// The plain input on which most of what `counts` is looked at; of several the first.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) if there is none.
pub fn richest(
    model: &ModelInfo,
    counts: impl Fn(&Quantity) -> bool,
) -> Result<&Stimulus, PluginError> {
    let plain = model.stimuli.iter().filter(|s| s.request.is_plain());
    let counted = |stimulus: &&Stimulus| {
        let capture = stimulus.request.capture.iter();
        capture.filter(|quantity| counts(quantity)).count()
    };
    // `max_by_key` gives the last of several.
    let richest = plain.rev().max_by_key(counted);
    richest.ok_or_else(|| PluginError::unsupported("there is no plain run among the inputs"))
}

/// Whether a hook is one of those that stand for all where not every block is looked at: outside of the blocks, or in the
/// first, a middle or the last one.
pub fn in_representative_block(model: &ModelInfo, hook: &str) -> bool {
    let last = model.spec.layers.len().saturating_sub(1);
    layer_of(hook).is_none_or(|layer| [0, last / 2, last].contains(&layer))
}

/// The checks, or that there is nothing to check: `needed` is shown on no input.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported) if there is none.
pub fn applicable(checks: Vec<Check>, needed: &str) -> Result<Vec<Check>, PluginError> {
    if checks.is_empty() {
        let message = format!("the reference shows {needed} on no input");
        return Err(PluginError::unsupported(message));
    }
    Ok(checks)
}

/// The stimulus that `check` is about, whose id is its variant.
///
/// # Errors
/// If there is none.
pub fn stimulus<'a>(model: &'a ModelInfo, check: &Check) -> Result<&'a Stimulus, PluginError> {
    let found = model
        .stimuli
        .iter()
        .find(|stimulus| stimulus.id == check.variant);
    found.ok_or_else(|| {
        PluginError::internal(format!("a check of the unknown input `{}`", check.variant))
    })
}

/// The truth of `quantity`, which the reference was asked for.
///
/// # Errors
/// If it is not there.
pub fn truth_of<'a>(truth: &'a Trace, quantity: &Quantity) -> Result<&'a Tensor, PluginError> {
    truth
        .value(quantity)
        .ok_or_else(|| PluginError::internal(format!("the reference left out {quantity}")))
}

/// What the subject answers about `quantity`, which it was asked for.
///
/// # Errors
/// If it is not there.
pub fn answer_of<'a>(subject: &'a Trace, quantity: &Quantity) -> Result<&'a Tensor, PluginError> {
    subject
        .value(quantity)
        .ok_or_else(|| PluginError::internal(format!("the subject left out {quantity}")))
}

/// What a benchmark says to answers that are not as many as it planned requests.
pub fn wrong_count(answers: &[Trace]) -> PluginError {
    PluginError::internal(format!("{} answers to judge", answers.len()))
}
