//! Every hook, cumulatively and locally.

use tlbench_sdk::compare::{Closeness, Tolerance};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Divergence, Evaluation, Judgement, Judging, Measurement,
    ModelInfo, PlannedRequest, PluginError, Quantity, Severity, TensorMap, Trace, TraceRequest,
    Verdict,
};

use crate::measure::{Comparison, Outcome, applicable, askable, stimulus, truth_of, worst};
use crate::report::{
    by_layer, evaluation_text, explain, quantity_text, ratio_text, tolerance_text, with_blindness,
};
use crate::{MODULE, options};

/// The tolerance of the same name in TransformerLens.
const TOLERANCE: Tolerance = Tolerance {
    atol: 1e-3,
    rtol: 3e-2,
};

pub(crate) struct ForwardPass;

impl Benchmark for ForwardPass {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo {
            id: "forward_pass".into(),
            module: MODULE.into(),
            description:
                "every hook and the logits equal the reference's, and each component by itself does"
                    .into(),
        }
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        options::tolerance(&model.options, TOLERANCE)?;
        let check = |stimulus: &tlbench_sdk::Stimulus| Check {
            variant: stimulus.id.clone(),
            requests: vec![
                PlannedRequest::reference(TraceRequest::new(
                    stimulus.inputs.clone(),
                    stimulus.quantities.clone(),
                )),
                PlannedRequest::subject(TraceRequest::new(
                    stimulus.inputs.clone(),
                    askable(model, stimulus),
                )),
            ],
        };
        // A check that compares nothing would pass.
        let compared = model
            .stimuli
            .iter()
            .filter(|stimulus| stimulus.quantities.iter().any(is_compared));
        applicable(compared.map(check).collect(), "a hook or the logits")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let stimulus = stimulus(model, check)?;
        match answers {
            [truth, subject] => {
                let local =
                    TraceRequest::new(stimulus.inputs.clone(), local_quantities(truth, subject))
                        .local(local_truth(truth, subject));
                Ok(Judgement::More(vec![PlannedRequest::subject(local)]))
            }
            [truth, subject, local] => {
                let tolerance = options::tolerance(&model.options, TOLERANCE)?;
                let comparison = Comparison::new(model, check, truth)?;
                let findings = Findings::gather(
                    &comparison,
                    &stimulus.quantities,
                    truth,
                    subject,
                    local,
                    tolerance,
                )?;
                Ok(Judgement::Verdict(findings.verdict(model)))
            }
            _ => Err(PluginError::internal(format!(
                "{} answers to judge",
                answers.len()
            ))),
        }
    }
}

/// The hooks at which the subject can be set to the truth: those where it has a value of the same shape.
fn local_truth(truth: &Trace, subject: &Trace) -> TensorMap {
    truth
        .values
        .iter()
        .filter(|(quantity, tensor)| {
            subject
                .value(quantity)
                .is_some_and(|value| value.shape() == tensor.shape())
        })
        .filter_map(|(quantity, tensor)| Some((quantity.as_hook()?.to_owned(), tensor.clone())))
        .collect()
}

fn local_quantities(truth: &Trace, subject: &Trace) -> Vec<Quantity> {
    let hooks = local_truth(truth, subject).into_keys().map(Quantity::Hook);
    hooks
        .chain(
            truth
                .values
                .contains_key(&Quantity::Logits)
                .then_some(Quantity::Logits),
        )
        .collect()
}

/// All comparisons of one check, in execution order.
struct Findings {
    measurements: Vec<Measurement>,
    broken: Vec<Divergence>,
    /// The place of each quantity in execution order.
    order: Vec<Quantity>,
}

impl Findings {
    fn gather(
        comparison: &Comparison<'_>,
        quantities: &[Quantity],
        truth: &Trace,
        subject: &Trace,
        local: &Trace,
        tolerance: Tolerance,
    ) -> Result<Self, PluginError> {
        let mut findings = Self {
            measurements: Vec::new(),
            broken: Vec::new(),
            order: quantities.to_vec(),
        };
        for quantity in quantities.iter().filter(|quantity| is_compared(quantity)) {
            let expected = truth_of(truth, quantity)?;
            let value = subject.value(quantity);
            let cumulative = if *quantity == Quantity::Logits {
                comparison.measure_with_tolerance(quantity, value, expected, tolerance)?
            } else {
                comparison.measure(quantity, Evaluation::Cumulative, value, expected)?
            };
            findings.push(cumulative);
            let has_local_floor = truth
                .floor(quantity)
                .is_some_and(|floor| floor.local.is_some());
            if let Some(value) = local.value(quantity).filter(|_| has_local_floor) {
                findings.push(comparison.measure(
                    quantity,
                    Evaluation::Local,
                    Some(value),
                    expected,
                )?);
            }
        }
        Ok(findings)
    }

    fn push(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Measured(measurement) => self.measurements.push(measurement),
            Outcome::Broken(divergence) => self.broken.push(divergence),
        }
    }

    /// The first failure in execution order. A local failure is the component's own; a cumulative one may be inherited,
    /// so it counts only where no local one is found.
    fn first_divergence(&self) -> Option<Divergence> {
        let place = |quantity: &Quantity| self.order.iter().position(|known| known == quantity);
        let first = |evaluation: Evaluation| {
            let failed = self
                .measurements
                .iter()
                .filter(|m| m.severity == Severity::Danger && m.evaluation == evaluation);
            let measured = failed.map(divergence_of);
            // What is missing has no local measurement, and is the component's own fault.
            let broken = self
                .broken
                .iter()
                .filter(|_| evaluation == Evaluation::Local)
                .cloned();
            measured
                .chain(broken)
                .min_by_key(|divergence| place(&divergence.quantity))
        };
        first(Evaluation::Local).or_else(|| first(Evaluation::Cumulative))
    }

    fn verdict(self, model: &ModelInfo) -> Verdict {
        let severity = match model.judging {
            Judging::Calibrated if !self.broken.is_empty() => Severity::Danger,
            Judging::Calibrated => worst(&self.measurements),
            Judging::Tolerance => self.by_tolerance(),
        };
        let first = self.first_divergence();
        let message = match (&first, severity) {
            (Some(divergence), Severity::Danger) => format!(
                "first divergence at {}: {}",
                quantity_text(&divergence.quantity),
                divergence.reason
            ),
            _ => with_blindness(self.summary(), model, self.logits()),
        };
        let mut verdict = Verdict::new(severity, message);
        if let Some(closeness) = self.measurements.iter().find_map(|m| m.closeness) {
            verdict = verdict.detail("tolerance of the logits", tolerance_text(closeness));
        }
        if let Some(divergence) = first {
            verdict = explain(verdict, model, &divergence);
            if let Some(measurement) = self.measurement(&divergence) {
                verdict = describe_worst(verdict, measurement);
            }
            if let Some(by_layer) = by_layer(&self.measurements) {
                verdict = verdict.detail("cumulative ratio after each block", by_layer);
            }
            verdict.first_divergence = Some(divergence);
        }
        verdict.measurements = self.measurements;
        verdict
    }

    fn by_tolerance(&self) -> Severity {
        let close = self
            .measurements
            .iter()
            .find_map(|m| m.closeness)
            .is_some_and(Closeness::all);
        if close {
            Severity::Info
        } else {
            Severity::Danger
        }
    }

    fn measurement(&self, divergence: &Divergence) -> Option<&Measurement> {
        self.measurements
            .iter()
            .find(|m| m.quantity == divergence.quantity && m.evaluation == divergence.evaluation)
    }

    fn logits(&self) -> Option<&Measurement> {
        self.measurements
            .iter()
            .find(|m| m.quantity == Quantity::Logits)
    }

    /// The worst ratios of a check that passed.
    fn summary(&self) -> String {
        let worst_of = |evaluation: Evaluation| {
            let of = self
                .measurements
                .iter()
                .filter(|m| m.evaluation == evaluation);
            of.max_by(|a, b| a.ratio.total_cmp(&b.ratio)).map(|m| {
                format!(
                    "{} {} ({})",
                    evaluation_text(evaluation),
                    ratio_text(m.ratio),
                    quantity_text(&m.quantity)
                )
            })
        };
        let worst: Vec<String> = [Evaluation::Cumulative, Evaluation::Local]
            .into_iter()
            .filter_map(worst_of)
            .collect();
        let hooks = self
            .measurements
            .iter()
            .filter(|m| m.evaluation == Evaluation::Cumulative)
            .count();
        format!(
            "{hooks} values match; worst error ratio: {}",
            worst.join(", ")
        )
    }
}

/// Scalars are judged by the vector that they sum, and that belongs to the loss benchmark.
fn is_compared(quantity: &Quantity) -> bool {
    matches!(quantity, Quantity::Hook(_) | Quantity::Logits)
}

fn divergence_of(measurement: &Measurement) -> Divergence {
    let kind = evaluation_text(measurement.evaluation);
    let reason = if measurement.difference.mismatched > 0 {
        format!(
            "{} elements are infinite or NaN on one side only ({kind})",
            measurement.difference.mismatched
        )
    } else {
        format!("{kind} error ratio {}", ratio_text(measurement.ratio))
    };
    Divergence {
        quantity: measurement.quantity.clone(),
        evaluation: measurement.evaluation,
        ratio: measurement.ratio,
        reason,
    }
}

fn describe_worst(verdict: Verdict, measurement: &Measurement) -> Verdict {
    let difference = &measurement.difference;
    let at = difference
        .worst
        .as_ref()
        .map(|place| format!(" at {place:?}"))
        .unwrap_or_default();
    verdict.detail(
        "difference",
        format!(
            "rms {:.2e} (floor {:.2e}, truth {:.2e}), relative L2 {:.2e}, largest {:.2e}{at}",
            difference.rms,
            measurement.floor,
            difference.truth_rms,
            difference.relative_l2,
            difference.max_abs
        ),
    )
}
