//! Every hook, cumulatively and locally.

use tlbench_sdk::compare::{Closeness, Tolerance};
use tlbench_sdk::judge::{
    Comparison, Findings, Pass, applicable, askable, stimulus, tolerance_text, truth_of,
};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Detail, Evaluation, Judgement, Judging, ModelInfo,
    PlannedRequest, PluginError, Quantity, Severity, TensorMap, Trace, TraceRequest, Verdict,
};

use crate::tolerance::{options, tolerance};
use crate::{EXPLAINED, MODULE};

/// The tolerance of the same name in TransformerLens.
const TOLERANCE: Tolerance = Tolerance {
    atol: 1e-3,
    rtol: 3e-2,
};

pub(crate) struct ForwardPass;

impl Benchmark for ForwardPass {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "forward_pass",
            MODULE,
            "every hook and the logits equal the reference's, and each component by itself does",
        )
        .explained(EXPLAINED)
        .taking(options(TOLERANCE))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        tolerance(model, TOLERANCE)?;
        let check = |stimulus: &tlbench_sdk::Stimulus| Check {
            variant: stimulus.id.clone(),
            requests: vec![
                PlannedRequest::reference(stimulus.request.clone()),
                PlannedRequest::subject(TraceRequest {
                    capture: askable(model, stimulus),
                    ..stimulus.request.clone()
                }),
            ],
        };
        // A check that compares nothing would pass.
        let compared = model.stimuli.iter().filter(|stimulus| {
            stimulus.request.is_plain() && stimulus.request.capture.iter().any(is_compared)
        });
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
                let local = TraceRequest {
                    capture: local_quantities(truth, subject),
                    ..stimulus.request.clone()
                };
                let local = local.local(local_truth(truth, subject));
                Ok(Judgement::More(vec![PlannedRequest::subject(local)]))
            }
            [truth, subject, local] => {
                let comparison = Comparison::new(model, &stimulus.request, truth)?;
                let findings = compare(
                    &comparison,
                    &stimulus.request.capture,
                    [truth, subject, local],
                    tolerance(model, TOLERANCE)?,
                )?;
                Ok(Judgement::Verdict(verdict(findings, model)))
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

/// Compares what was asked for, in execution order: cumulatively, and locally where there is a floor for that.
fn compare(
    comparison: &Comparison<'_>,
    quantities: &[Quantity],
    [truth, subject, local]: [&Trace; 3],
    tolerance: Tolerance,
) -> Result<Findings, PluginError> {
    let mut findings = Findings::new(quantities, Pass::Forward);
    for quantity in quantities.iter().filter(|quantity| is_compared(quantity)) {
        let expected = truth_of(truth, quantity)?;
        let value = subject.value(quantity);
        findings.push(if *quantity == Quantity::Logits {
            comparison.measure_with_tolerance(quantity, value, expected, tolerance)?
        } else {
            comparison.measure(quantity, Evaluation::Cumulative, value, expected)?
        });
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

fn verdict(findings: Findings, model: &ModelInfo) -> Verdict {
    let closeness = findings.measurements().iter().find_map(|m| m.closeness);
    let severity = match model.judging {
        Judging::Calibrated => findings.severity(),
        Judging::Tolerance if closeness.is_some_and(Closeness::all) => Severity::Info,
        Judging::Tolerance => Severity::Danger,
    };
    let mut verdict = findings.verdict_of(model, severity, "values");
    if let Some(closeness) = closeness {
        let detail = Detail {
            name: "tolerance of the logits".into(),
            value: tolerance_text(closeness),
        };
        verdict.details.insert(0, detail);
    }
    verdict
}

/// Scalars are judged by the vector that they sum, and that belongs to the loss benchmark.
fn is_compared(quantity: &Quantity) -> bool {
    matches!(quantity, Quantity::Hook(_) | Quantity::Logits)
}
