//! The logits, as numbers and as distributions.

use tlbench_sdk::compare::{Closeness, Tolerance, agreement, log_softmax};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Evaluation, Judgement, Judging, Mode, ModelInfo,
    PlannedRequest, PluginError, Quantity, Severity, Trace, TraceRequest, Verdict,
};

use crate::measure::{Comparison, Outcome, truth_of, worst};
use crate::report::ratio_text;
use crate::{MODULE, options};

/// The tolerance of the same name in TransformerLens.
const TOLERANCE: Tolerance = Tolerance {
    atol: 3e-2,
    rtol: 3e-2,
};

pub(crate) struct LogitsEquivalence;

impl Benchmark for LogitsEquivalence {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo {
            id: "logits_equivalence".into(),
            module: MODULE.into(),
            description: "logits and next-token distributions equal the reference's".into(),
        }
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        options::tolerance(&model.options, TOLERANCE)?;
        let with_logits = model
            .stimuli
            .iter()
            .filter(|stimulus| stimulus.quantities.contains(&Quantity::Logits));
        let check = |stimulus: &tlbench_sdk::Stimulus| {
            let request = TraceRequest::new(stimulus.inputs.clone(), vec![Quantity::Logits]);
            Check {
                variant: stimulus.id.clone(),
                requests: vec![
                    PlannedRequest::reference(request.clone()),
                    PlannedRequest::subject(request),
                ],
            }
        };
        Ok(with_logits.map(check).collect())
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
        let tolerance = options::tolerance(&model.options, TOLERANCE)?;
        let comparison = Comparison::new(model, check, truth)?;
        let expected = truth_of(truth, &Quantity::Logits)?;
        let value = truth_of(subject, &Quantity::Logits)?;
        let log_probs = (log_softmax(value), log_softmax(expected));
        // Centring the unembedding shifts all logits of a position alike: only the distribution is comparable then.
        let compared = match model.mode {
            Mode::Raw => comparison.measure_with_tolerance(
                &Quantity::Logits,
                Some(value),
                expected,
                tolerance,
            )?,
            Mode::Compat => comparison.measure_with_tolerance(
                &Quantity::LogProbs,
                Some(&log_probs.0),
                &log_probs.1,
                tolerance,
            )?,
        };
        let first = match compared {
            Outcome::Measured(measurement) => measurement,
            Outcome::Broken(divergence) => {
                return Ok(Judgement::Verdict(Verdict::new(
                    Severity::Danger,
                    format!("logits: {}", divergence.reason),
                )));
            }
        };
        let distribution = comparison.measure(
            &Quantity::LogProbs,
            Evaluation::Cumulative,
            Some(&log_probs.0),
            &log_probs.1,
        )?;
        let mut measurements = vec![first];
        if let (Outcome::Measured(measurement), Mode::Raw) = (distribution, model.mode) {
            measurements.push(measurement);
        }
        let closeness = measurements[0].closeness;
        let severity = match model.judging {
            Judging::Calibrated => worst(&measurements),
            Judging::Tolerance if closeness.is_some_and(Closeness::all) => Severity::Info,
            Judging::Tolerance => Severity::Danger,
        };
        let agreement = agreement(value, expected, comparison.region())
            .map_err(|error| PluginError::invalid_input(format!("logits: {error}")))?;
        let ratios: Vec<String> = measurements
            .iter()
            .map(|m| format!("{} {}", m.quantity, ratio_text(m.ratio)))
            .collect();
        let mut message = format!("error ratio: {}", ratios.join(", "));
        if agreement.top1 < 1.0 {
            message = format!(
                "{message}; top token differs at {:.1}% of positions",
                100.0 * (1.0 - agreement.top1)
            );
        }
        let difference = &measurements[0].difference;
        let mut verdict = Verdict::new(severity, message)
            .detail(
                "largest difference",
                format!("{:.2e} (rms {:.2e})", difference.max_abs, difference.rms),
            )
            .detail("relative L2", format!("{:.2e}", difference.relative_l2))
            .detail("cosine", format!("{:.12}", difference.cosine))
            .detail(
                "KL",
                format!(
                    "mean {:.2e}, largest {:.2e}",
                    agreement.mean_kl, agreement.max_kl
                ),
            )
            .detail(
                "top-1",
                format!(
                    "{:.1}% of {} positions",
                    100.0 * agreement.top1,
                    agreement.rows
                ),
            );
        if agreement.top1 < 1.0 {
            verdict = verdict.detail(
                "clearest top-1 disagreement",
                format!("margin {:.2e}", agreement.worst_margin),
            );
        }
        if let Some(closeness) = closeness {
            verdict = verdict.detail(
                "tolerance",
                format!(
                    "{} of {} outside atol {:e}, rtol {:e}",
                    closeness.outside, closeness.elements, tolerance.atol, tolerance.rtol
                ),
            );
        }
        verdict.measurements = measurements;
        Ok(Judgement::Verdict(verdict))
    }
}
