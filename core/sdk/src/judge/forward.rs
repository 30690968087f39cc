//! Hooks and logits, looked at twice: with errors adding up, and with each component on true inputs.

use super::comparison::Comparison;
use super::findings::{Findings, Pass};
use super::norm_fit::{self, fit};
use super::requests::{askable, truth_of, wrong_count};
use crate::benchmark::{Check, ModelInfo, PlannedRequest};
use crate::compare::Tolerance;
use crate::error::PluginError;
use crate::tensor::TensorMap;
use crate::trace::{Evaluation, Quantity, Trace, TraceRequest};

/// What is known after the answers so far.
pub enum Forward {
    /// The truth is; it has to be put in at each hook of the subject. The requests are to be made.
    Local(Vec<PlannedRequest>),
    /// Everything is but who is at fault, which takes weights to tell. The requests are to be made; or the findings will do.
    Readers(Vec<PlannedRequest>, Findings),
    /// Everything is.
    Done(Findings),
}

/// A check that asks the reference for what `request` captures, and the subject for what it knows of that.
pub fn plan_forward(model: &ModelInfo, variant: &str, request: TraceRequest) -> Check {
    let subject = TraceRequest {
        capture: askable(model, &request.capture),
        ..request.clone()
    };
    Check {
        variant: variant.to_owned(),
        requests: vec![
            PlannedRequest::reference(request),
            PlannedRequest::subject(subject),
        ],
    }
}

/// Goes on with a check of [`plan_forward`]: asks for the local run, and for weights where they tell who is at fault, or
/// compares what `is_compared` of all that was asked for. The logits are compared by fixed tolerances as well, where there
/// are some.
///
/// In the local run every hook of the request is set to the truth, as in those that the local floors were measured in: a
/// check that asks for few hooks gives errors more room to add up than the floors know of.
///
/// # Errors
/// If an answer is missing, or the reference gives no floor.
pub fn judge_forward(
    model: &ModelInfo,
    check: &Check,
    is_compared: impl Fn(&Quantity) -> bool,
    answers: &[Trace],
    tolerance: Option<Tolerance>,
) -> Result<Forward, PluginError> {
    let Some(PlannedRequest { request, .. }) = check.requests.first() else {
        return Err(PluginError::internal("a check without a question"));
    };
    match answers {
        [truth, subject] => {
            let local = TraceRequest {
                capture: local_quantities(truth, subject),
                ..request.clone()
            };
            let local = local.local(local_truth(truth, subject));
            Ok(Forward::Local(vec![PlannedRequest::subject(local)]))
        }
        [truth, subject, local, rest @ ..] => {
            let comparison = Comparison::new(model, request, truth)?;
            let asked = request.capture.iter().filter(|one| is_compared(one));
            let quantities: Vec<Quantity> = asked.cloned().collect();
            let findings = compare(&comparison, &quantities, [truth, subject, local], tolerance)?;
            let Some(readers) = findings.readers(model) else {
                return Ok(Forward::Done(findings));
            };
            match (rest, readers.question(model, request)) {
                ([], Some(question)) => Ok(Forward::Readers(vec![question], findings)),
                ([], None) => Ok(Forward::Done(findings)),
                ([weights], _) => {
                    let answers = norm_fit::Answers {
                        truth,
                        local,
                        weights,
                    };
                    let fit = fit(&readers, &comparison, &answers)?;
                    Ok(Forward::Done(findings.with_norm_fit(fit)))
                }
                _ => Err(wrong_count(answers)),
            }
        }
        _ => Err(wrong_count(answers)),
    }
}

/// Compares what was asked for, in execution order: cumulatively, and locally where there is a floor for that.
fn compare(
    comparison: &Comparison<'_>,
    quantities: &[Quantity],
    [truth, subject, local]: [&Trace; 3],
    tolerance: Option<Tolerance>,
) -> Result<Findings, PluginError> {
    let mut findings = Findings::new(quantities, Pass::Forward);
    for quantity in quantities {
        let expected = truth_of(truth, quantity)?;
        let value = subject.value(quantity);
        findings.push(match (quantity, tolerance) {
            (Quantity::Logits, Some(tolerance)) => {
                comparison.measure_with_tolerance(quantity, value, expected, tolerance)?
            }
            _ => comparison.measure(quantity, Evaluation::Cumulative, value, expected)?,
        });
        let has_local_floor = truth
            .floor(quantity)
            .is_some_and(|floor| floor.local.is_some());
        if let Some(value) = local.value(quantity).filter(|_| has_local_floor) {
            let value = Some(value);
            findings.push(comparison.measure(quantity, Evaluation::Local, value, expected)?);
        }
    }
    Ok(findings)
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
    let has_logits = truth.values.contains_key(&Quantity::Logits);
    hooks
        .chain(has_logits.then_some(Quantity::Logits))
        .collect()
}
