//! What an edit at a hook does to the loss.

use tlbench_sdk::compare::Region;
use tlbench_sdk::judge::{
    Comparison, Outcome, answer_of, applicable, ask_both, quantity_text, ratio_text, stimulus,
    truth_of, worst, wrong_count,
};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Divergence, Evaluation, Judgement,
    Measurement, ModelInfo, PluginError, Quantity, Severity, Stimulus, Tensor, Trace, TraceRequest,
    Verdict,
};

use crate::MODULE;
use crate::edits::{PLAIN_ROW, RowEdit, row_edits};

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
            return Err(wrong_count(answers));
        };
        let request = &stimulus(model, check)?.request;
        let effects = effects(model, request, truth, subject)?;
        Ok(Judgement::Verdict(verdict(effects)))
    }
}

/// Whether there is a loss for edits to change, by which their effects can be told apart.
fn is_edit(stimulus: &Stimulus) -> bool {
    let [_, pos] = stimulus.request.shape();
    pos > 1 && stimulus.shows(&Quantity::LossPerToken) && row_edits(&stimulus.request).is_some()
}

/// What one edit did.
struct Effect {
    hook: String,
    outcome: Outcome,
    /// RMS change of the loss against the row without an edit, in floors; NaN if there is no such row.
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
    let found = answer_of(subject, &quantity)?;
    let floor = truth
        .floor(&quantity)
        .and_then(|floor| floor.at(Evaluation::Cumulative, model.dtype, 0.0))
        .unwrap_or(0.0)
        .max(f64::MIN_POSITIVE);
    let mask = request.inputs.get(ATTENTION_MASK).and_then(Region::new);
    let mask = mask.ok_or_else(|| PluginError::internal("a question without a mask"))?;
    let edits = row_edits(request).unwrap_or_default();
    let effect = |RowEdit { hook, row, .. }| {
        Ok(Effect {
            hook: hook.to_owned(),
            outcome: comparison.measure_row(&quantity, row, found, expected)?,
            true_change: change(expected, row, &mask) / floor,
            change: change(found, row, &mask) / floor,
        })
    };
    edits.into_iter().map(effect).collect()
}

/// RMS difference of row `row` from the plain one over the pairs that count.
fn change(losses: &Tensor, row: usize, mask: &Region) -> f64 {
    let (Some(plain), Some(edited)) = (losses.row(PLAIN_ROW), losses.row(row)) else {
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

impl Effect {
    fn is_visible(&self) -> bool {
        self.true_change > VISIBLE
    }

    /// What was measured, and what is wrong with it.
    fn judged(self) -> (Option<Measurement>, Option<Divergence>) {
        let quantity = Quantity::Hook(self.hook.clone());
        match self.outcome {
            Outcome::Broken(divergence) => {
                let divergence = Divergence {
                    quantity,
                    ..divergence
                };
                (None, Some(divergence))
            }
            Outcome::Measured(measurement) => {
                let is_decorative = self.true_change > VISIBLE && self.change < 1.0;
                let reason = if is_decorative {
                    "an edit there changes nothing, and changes the loss in the reference"
                        .to_owned()
                } else {
                    let ratio = ratio_text(measurement.ratio);
                    format!("an edit there has another effect on the loss: error ratio {ratio}")
                };
                let divergence = (measurement.severity == Severity::Danger).then(|| Divergence {
                    quantity: quantity.clone(),
                    evaluation: measurement.evaluation,
                    ratio: measurement.ratio,
                    reason,
                });
                let measurement = Measurement {
                    quantity,
                    ..measurement
                };
                (Some(measurement), divergence)
            }
        }
    }
}

fn verdict(effects: Vec<Effect>) -> Verdict {
    let (visible, weak): (Vec<&Effect>, Vec<&Effect>) =
        effects.iter().partition(|effect| effect.is_visible());
    let visible = visible.len();
    let weak: Vec<String> = weak.iter().map(|effect| effect.hook.clone()).collect();
    let (measurements, divergences): (Vec<_>, Vec<_>) =
        effects.into_iter().map(Effect::judged).unzip();
    let measurements: Vec<Measurement> = measurements.into_iter().flatten().collect();
    let mut divergences = divergences.into_iter().flatten();
    let first = divergences.next();
    let mut verdict = match &first {
        Some(first) => Verdict::new(Severity::Danger, told(first)),
        None => passed(&measurements, visible),
    };
    verdict = verdict.detail("edits that move the loss", visible.to_string());
    if !weak.is_empty() {
        verdict = verdict.detail("edits that do not", weak.join(", "));
    }
    verdict = divergences.fold(verdict, |verdict, other| {
        verdict.detail("also", told(&other))
    });
    verdict.first_divergence = first;
    verdict.measurements = measurements;
    verdict
}

fn told(divergence: &Divergence) -> String {
    format!(
        "{}: {}",
        quantity_text(&divergence.quantity),
        divergence.reason
    )
}

fn passed(measurements: &[Measurement], visible: usize) -> Verdict {
    let count = measurements.len();
    if visible == 0 {
        let message = format!("none of {count} edits moves the loss by more than rounding");
        return Verdict::new(Severity::Warning, message);
    }
    let ratio = measurements.iter().map(|m| m.ratio).fold(0.0, f64::max);
    let ratio = ratio_text(ratio);
    let message =
        format!("{count} edits change the loss as in the reference; worst error ratio {ratio}");
    Verdict::new(worst(measurements), message)
}
