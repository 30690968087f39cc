//! What an edit at a hook does to the loss.

use tlbench_sdk::compare::Region;
use tlbench_sdk::judge::{
    Comparison, Outcome, applicable, ask_both, ratio_text, stimulus, truth_of, worst,
};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Divergence, Evaluation, Judgement,
    Measurement, ModelInfo, PluginError, Quantity, Severity, Stimulus, Target, Tensor, Trace,
    TraceRequest, Verdict,
};

use crate::MODULE;

/// An edit that moves the loss by fewer floors than this cannot be told from one that does nothing.
const VISIBLE: f64 = 30.0;

pub(crate) struct HookFunctionality;

impl Benchmark for HookFunctionality {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "hook_functionality",
            MODULE,
            "an edit at a hook changes the loss of each token as it does in the reference",
        )
        .explained(include_str!("explained/hook_functionality.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let edited = model.stimuli.iter().filter(|stimulus| is_edit(stimulus));
        let check = |stimulus| ask_both(stimulus, vec![Quantity::LossPerToken]);
        applicable(edited.map(check).collect(), "what edits do")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [truth, subject] = answers else {
            return Err(PluginError::internal(format!(
                "{} answers to judge",
                answers.len()
            )));
        };
        let request = &stimulus(model, check)?.request;
        let effects = effects(model, request, truth, subject)?;
        Ok(Judgement::Verdict(verdict(effects)))
    }
}

fn is_edit(stimulus: &Stimulus) -> bool {
    let edits = &stimulus.request.interventions;
    let at_hooks = edits.iter().all(|edit| hook_of(&edit.target).is_some());
    !edits.is_empty() && at_hooks && stimulus.shows(&Quantity::LossPerToken)
}

fn hook_of(target: &Target) -> Option<&str> {
    match target {
        Target::Hook(name) => Some(name),
        Target::HookGradient(_) | Target::Weight(_) => None,
    }
}

/// What one edit did.
struct Effect {
    hook: String,
    outcome: Outcome,
    /// RMS change of the loss against the row without an edit, in floors.
    true_change: f64,
    change: f64,
}

/// One effect for each row that is edited.
fn effects(
    model: &ModelInfo,
    request: &TraceRequest,
    truth: &Trace,
    subject: &Trace,
) -> Result<Vec<Effect>, PluginError> {
    let quantity = Quantity::LossPerToken;
    let comparison = Comparison::new(model, request, truth)?;
    let expected = truth_of(truth, &quantity)?;
    let found = truth_of(subject, &quantity)?;
    let floor = truth
        .floor(&quantity)
        .and_then(|floor| floor.at(Evaluation::Cumulative, model.dtype, 0.0))
        .unwrap_or(0.0)
        .max(f64::MIN_POSITIVE);
    let mask = request.inputs.get(ATTENTION_MASK).and_then(Region::new);
    let mask = mask.ok_or_else(|| PluginError::internal("a question without a mask"))?;
    let mut effects = Vec::new();
    for edit in &request.interventions {
        let (Some(hook), Some(&[row])) = (hook_of(&edit.target), edit.rows.as_deref()) else {
            return Err(PluginError::internal("an edit that is not of one row"));
        };
        effects.push(Effect {
            hook: hook.to_owned(),
            outcome: comparison.measure_row(&quantity, row, found, expected)?,
            true_change: change(expected, row, &mask) / floor,
            change: change(found, row, &mask) / floor,
        });
    }
    Ok(effects)
}

/// RMS difference of row `row` from row 0 over the pairs that count.
fn change(losses: &Tensor, row: usize, mask: &Region) -> f64 {
    let (Some(plain), Some(edited)) = (losses.row(0), losses.row(row)) else {
        return f64::NAN;
    };
    let (plain, edited) = (plain.to_f64_vec(), edited.to_f64_vec());
    let counts = |pos: &usize| mask.is_real(row, *pos) && mask.is_real(row, pos + 1);
    let squares: Vec<f64> = (0..plain.len())
        .filter(counts)
        .map(|pos| (edited[pos] - plain[pos]).powi(2))
        .collect();
    (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt()
}

fn verdict(effects: Vec<Effect>) -> Verdict {
    let visible = effects
        .iter()
        .filter(|effect| effect.true_change > VISIBLE)
        .count();
    let weak: Vec<String> = effects
        .iter()
        .filter(|effect| effect.true_change <= VISIBLE)
        .map(|effect| effect.hook.clone())
        .collect();
    let mut measurements: Vec<Measurement> = Vec::new();
    let mut wrong: Vec<(Divergence, String)> = Vec::new();
    for effect in effects {
        let says = |ratio: f64| {
            if effect.true_change > VISIBLE && effect.change < 1.0 {
                "an edit there changes nothing, and changes the loss in the reference".to_owned()
            } else {
                format!(
                    "an edit there has another effect on the loss: error ratio {}",
                    ratio_text(ratio)
                )
            }
        };
        match effect.outcome {
            Outcome::Measured(mut measurement) => {
                measurement.quantity = Quantity::Hook(effect.hook.clone());
                if measurement.severity == Severity::Danger {
                    let divergence = Divergence {
                        quantity: measurement.quantity.clone(),
                        evaluation: measurement.evaluation,
                        ratio: measurement.ratio,
                        reason: says(measurement.ratio),
                    };
                    wrong.push((divergence, effect.hook));
                }
                measurements.push(measurement);
            }
            Outcome::Broken(divergence) => {
                let quantity = Quantity::Hook(effect.hook.clone());
                wrong.push((
                    Divergence {
                        quantity,
                        ..divergence
                    },
                    effect.hook,
                ));
            }
        }
    }
    let mut verdict = match wrong.first() {
        Some((first, hook)) => Verdict::new(Severity::Danger, format!("{hook}: {}", first.reason)),
        None => Verdict::new(
            worst(&measurements),
            format!(
                "{} edits change the loss as in the reference; worst error ratio {}",
                measurements.len(),
                ratio_text(measurements.iter().map(|m| m.ratio).fold(0.0, f64::max))
            ),
        ),
    };
    verdict = verdict.detail("edits that move the loss", visible.to_string());
    if !weak.is_empty() {
        verdict = verdict.detail("edits that do not", weak.join(", "));
    }
    for (divergence, hook) in wrong.iter().skip(1) {
        verdict = verdict.detail("also", format!("{hook}: {}", divergence.reason));
    }
    verdict.first_divergence = wrong.into_iter().next().map(|(divergence, _)| divergence);
    verdict.measurements = measurements;
    verdict
}
