//! The gradient of every parameter.

use std::collections::BTreeSet;

use tlbench_sdk::judge::{Comparison, Findings, Pass, applicable, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Quantity,
    Severity, Stimulus, Trace, TraceRequest, Verdict,
};

use crate::{MODULE, finite_differences};

pub(crate) struct GradientComputation;

impl Benchmark for GradientComputation {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "gradient_computation",
            MODULE,
            "the gradient of every parameter is there, is finite, and equals the reference's and finite differences",
        )
        .explained(include_str!("explained/gradient_computation.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let mut checks: Vec<Check> = model
            .stimuli
            .iter()
            .filter_map(|s| against_reference(model, s))
            .collect();
        if checks.is_empty() {
            checks.extend(shown_nowhere(model));
        }
        checks.extend(finite_differences::plan(model));
        applicable(checks, "the gradient of a parameter")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        if check.variant == finite_differences::VARIANT {
            return finite_differences::judge(model, check, answers).map(Judgement::Verdict);
        }
        let Some(of_reference) = check.requests.first() else {
            return Err(wrong_count(answers));
        };
        let [truth, subject] = match answers {
            [truth, subject] => [truth, subject],
            // The reference shows more than it says.
            [_] => {
                let asked = PlannedRequest::subject(of_reference.request.clone());
                return Ok(Judgement::More(vec![asked]));
            }
            _ => return Err(wrong_count(answers)),
        };
        if let Some(reason) = not_there(model, subject) {
            return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, reason)));
        }
        let request = &of_reference.request;
        let quantities = parameter_gradients(&request.capture);
        let mut findings = Findings::new(&quantities, Pass::Backward);
        findings.compare(
            &Comparison::new(model, request, truth)?,
            &quantities,
            truth,
            subject,
        )?;
        let mut verdict = findings.verdict(model, "parameter gradients");
        let uncompared = uncompared(model, &quantities);
        if !uncompared.is_empty() {
            if verdict.severity.passed() {
                let count = uncompared.len();
                verdict.severity = Severity::Warning;
                verdict.message =
                    format!("{}; {count} not shown by the reference", verdict.message);
            }
            verdict = verdict.detail("not shown by the reference", uncompared.join(", "));
        }
        Ok(Judgement::Verdict(verdict))
    }
}

/// Asks the subject for every parameter, and the reference for those that it shows.
fn against_reference(model: &ModelInfo, stimulus: &Stimulus) -> Option<Check> {
    let shown = parameter_gradients(&stimulus.request.capture);
    if shown.is_empty() {
        return None;
    }
    let request = |capture| TraceRequest {
        capture,
        ..stimulus.request.clone()
    };
    let all = model.parameters.iter();
    let all = all.map(|parameter| Quantity::ParameterGradient(parameter.name.clone()));
    Some(Check {
        variant: stimulus.id.clone(),
        requests: vec![
            PlannedRequest::reference(request(shown)),
            PlannedRequest::subject(request(all.collect())),
        ],
    })
}

/// A reference that shows none is asked all the same, so that its refusal is told and not passed over.
fn shown_nowhere(model: &ModelInfo) -> Option<Check> {
    let mut stimuli = model.stimuli.iter();
    let stimulus = stimuli.find(|stimulus| stimulus.request.gradients.is_some())?;
    let all = model.parameters.iter();
    let all = all.map(|parameter| Quantity::ParameterGradient(parameter.name.clone()));
    Some(Check {
        variant: stimulus.id.clone(),
        requests: vec![PlannedRequest::reference(TraceRequest {
            capture: all.collect(),
            ..stimulus.request.clone()
        })],
    })
}

fn parameter_gradients(quantities: &[Quantity]) -> Vec<Quantity> {
    let is_one = |quantity: &&Quantity| matches!(quantity, Quantity::ParameterGradient(_));
    quantities.iter().filter(is_one).cloned().collect()
}

/// What is wrong with the gradients of the subject's parameters by themselves.
pub(crate) fn not_there(model: &ModelInfo, subject: &Trace) -> Option<String> {
    model.parameters.iter().find_map(|parameter| {
        let name = &parameter.name;
        let Some(value) = subject.value(&Quantity::ParameterGradient(name.clone())) else {
            return Some(format!("{name} has no gradient"));
        };
        if value.shape() != parameter.shape {
            let (found, expected) = (value.shape(), &parameter.shape);
            return Some(format!(
                "the gradient of {name} is {found:?}, and it is {expected:?}"
            ));
        }
        let finite = value.to_f64_vec().iter().all(|value| value.is_finite());
        (!finite).then(|| format!("the gradient of {name} is NaN or infinite"))
    })
}

fn uncompared(model: &ModelInfo, compared: &[Quantity]) -> Vec<String> {
    let compared: BTreeSet<&str> = compared
        .iter()
        .filter_map(|quantity| match quantity {
            Quantity::ParameterGradient(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let names = model.parameters.iter().map(|parameter| &parameter.name);
    names
        .filter(|name| !compared.contains(name.as_str()))
        .cloned()
        .collect()
}
