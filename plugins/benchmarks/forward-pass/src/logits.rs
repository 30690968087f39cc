//! The logits, as numbers and as distributions.

use tlbench_sdk::compare::{Closeness, LogitAgreement, Tolerance, agreement, log_softmax};
use tlbench_sdk::judge::{
    Comparison, Outcome, applicable, ask_both, ratio_text, stimulus, tolerance_text, truth_of,
    with_blindness, worst, wrong_count,
};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Judging, Measurement, Mode, ModelInfo, PluginError,
    Quantity, Severity, Tensor, Trace, Verdict,
};

use crate::tolerance::{options, tolerance};
use crate::{EXPLAINED, MODULE};

/// The tolerance of the same name in TransformerLens.
const TOLERANCE: Tolerance = Tolerance {
    atol: 3e-2,
    rtol: 3e-2,
};

pub(crate) struct LogitsEquivalence;

impl Benchmark for LogitsEquivalence {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "logits_equivalence",
            MODULE,
            "logits and next-token distributions equal the reference's",
        )
        .explained(EXPLAINED)
        .taking(options(TOLERANCE))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        tolerance(model, TOLERANCE)?;
        let with_logits = model
            .stimuli
            .iter()
            .filter(|stimulus| stimulus.request.is_plain() && stimulus.shows(&Quantity::Logits));
        let check = |stimulus| ask_both(stimulus, vec![Quantity::Logits]);
        applicable(with_logits.map(check).collect(), "logits")
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
        let tolerance = tolerance(model, TOLERANCE)?;
        let request = &stimulus(model, check)?.request;
        let comparison = Comparison::new(model, request, truth)?;
        let expected = truth_of(truth, &Quantity::Logits)?;
        let value = truth_of(subject, &Quantity::Logits)?;
        let mut measurements = Vec::new();
        for outcome in compared(model.mode, &comparison, value, expected, tolerance)? {
            match outcome {
                Outcome::Measured(measurement) => measurements.push(measurement),
                Outcome::Broken(divergence) => {
                    let message = format!("logits: {}", divergence.reason);
                    return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, message)));
                }
            }
        }
        let agreement = agreement(value, expected, comparison.region())
            .map_err(|error| PluginError::invalid_input(format!("logits: {error}")))?;
        let severity = match model.judging {
            Judging::Calibrated => worst(&measurements),
            Judging::Tolerance if is_close(&measurements) => Severity::Info,
            Judging::Tolerance => Severity::Danger,
        };
        let message = message(&measurements, &agreement);
        let message = with_blindness(message, model, measurements.first());
        let verdict = Verdict::new(severity, message);
        let mut verdict = describe(verdict, &measurements, &agreement);
        verdict.measurements = measurements;
        Ok(Judgement::Verdict(verdict))
    }
}

/// The logits and their distribution. Centring the unembedding shifts all logits of a position alike: only the
/// distribution is comparable then.
fn compared(
    mode: Mode,
    comparison: &Comparison<'_>,
    value: &Tensor,
    expected: &Tensor,
    tolerance: Tolerance,
) -> Result<Vec<Outcome>, PluginError> {
    let (log_probs, expected_log_probs) = (log_softmax(value), log_softmax(expected));
    let distribution = comparison.measure_with_tolerance(
        &Quantity::LogProbs,
        Some(&log_probs),
        &expected_log_probs,
        tolerance,
    )?;
    Ok(match mode {
        Mode::Raw => {
            let quantity = Quantity::Logits;
            let logits =
                comparison.measure_with_tolerance(&quantity, Some(value), expected, tolerance)?;
            vec![logits, distribution]
        }
        Mode::Compat => vec![distribution],
    })
}

/// By tolerance, the first quantity decides: the one that TransformerLens compares.
fn is_close(measurements: &[Measurement]) -> bool {
    let first = measurements.first().and_then(|m| m.closeness);
    first.is_some_and(Closeness::all)
}

fn message(measurements: &[Measurement], agreement: &LogitAgreement) -> String {
    let ratios: Vec<String> = measurements
        .iter()
        .map(|m| format!("{} {}", m.quantity, ratio_text(m.ratio)))
        .collect();
    let mut message = format!("error ratio: {}", ratios.join(", "));
    if agreement.top1 < 1.0 {
        let share = 100.0 * (1.0 - agreement.top1);
        message = format!("{message}; top token differs at {share:.1}% of positions");
    }
    message
}

fn describe(
    mut verdict: Verdict,
    measurements: &[Measurement],
    agreement: &LogitAgreement,
) -> Verdict {
    if let Some(Measurement {
        difference,
        closeness,
        ..
    }) = measurements.first()
    {
        let largest = format!("{:.2e} (rms {:.2e})", difference.max_abs, difference.rms);
        verdict = verdict
            .detail("largest difference", largest)
            .detail("relative L2", format!("{:.2e}", difference.relative_l2))
            .detail("cosine", format!("{:.12}", difference.cosine));
        if let Some(closeness) = closeness {
            verdict = verdict.detail("tolerance", tolerance_text(*closeness));
        }
    }
    let (mean, max) = (agreement.mean_kl, agreement.max_kl);
    let top1 = format!(
        "{:.1}% of {} positions",
        100.0 * agreement.top1,
        agreement.rows
    );
    verdict = verdict
        .detail("KL", format!("mean {mean:.2e}, largest {max:.2e}"))
        .detail("top-1", top1);
    if agreement.top1 < 1.0 {
        let margin = format!("margin {:.2e}", agreement.worst_margin);
        verdict = verdict.detail("clearest top-1 disagreement", margin);
    }
    verdict
}
