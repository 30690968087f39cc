//! The gradient of every parameter.

use std::collections::BTreeSet;

use tlbench_sdk::judge::{Comparison, Findings, Pass, applicable, in_parts, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, Parameter, PlannedRequest, PluginError,
    Quantity, Severity, Stimulus, Trace, TraceRequest, Verdict,
};

use crate::{MODULE, finite_differences};

/// Elements of the gradients that are held at once. All of them take as much memory as the model.
const PART: usize = 16 << 20;

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
            .flat_map(|stimulus| against_reference(model, stimulus))
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
        let ([truth, subject], [of_reference, of_subject]) = (answers, check.requests.as_slice())
        else {
            let ([_], [of_reference]) = (answers, check.requests.as_slice()) else {
                return Err(wrong_count(answers));
            };
            // The reference shows more than it says.
            let asked = PlannedRequest::subject(of_reference.request.clone());
            return Ok(Judgement::More(vec![asked]));
        };
        let asked = &of_subject.request.capture;
        if let Some(reason) = not_there(model, asked, subject) {
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
        let is_compared = |quantity: &&Quantity| quantities.contains(quantity);
        let uncompared: Vec<&str> = asked
            .iter()
            .filter(|quantity| !is_compared(quantity))
            .filter_map(|quantity| Some(parameter(model, quantity)?.name.as_str()))
            .collect();
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

/// Asks the reference for the parameters that it shows, and the subject for every one.
fn against_reference(model: &ModelInfo, stimulus: &Stimulus) -> Vec<Check> {
    let shown = parameter_gradients(&stimulus.request.capture);
    let unshown = uncompared(model, &shown);
    let elements = |quantity: &Quantity| parameter(model, quantity).map_or(0, Parameter::elements);
    let parts = in_parts(&stimulus.id, shown, PART, elements);
    let check = |(index, (variant, part)): (usize, (String, Vec<Quantity>))| {
        let of_model = |quantity: &&Quantity| parameter(model, quantity).is_some();
        let mut asked: Vec<Quantity> = part.iter().filter(of_model).cloned().collect();
        if index == 0 {
            asked.extend(unshown.iter().cloned().map(Quantity::ParameterGradient));
        }
        let request = |capture| TraceRequest {
            capture,
            ..stimulus.request.clone()
        };
        Check {
            variant,
            requests: vec![
                PlannedRequest::reference(request(part)),
                PlannedRequest::subject(request(asked)),
            ],
        }
    };
    parts.into_iter().enumerate().map(check).collect()
}

/// The parameter whose gradient `quantity` is.
fn parameter<'a>(model: &'a ModelInfo, quantity: &Quantity) -> Option<&'a Parameter> {
    let Quantity::ParameterGradient(name) = quantity else {
        return None;
    };
    model.parameters.iter().find(|one| one.name == *name)
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

/// What is wrong by itself with the gradients that the subject was `asked` for.
pub(crate) fn not_there(model: &ModelInfo, asked: &[Quantity], subject: &Trace) -> Option<String> {
    asked.iter().find_map(|quantity| {
        let Parameter { name, shape } = parameter(model, quantity)?;
        let Some(value) = subject.value(quantity) else {
            return Some(format!("{name} has no gradient"));
        };
        if value.shape() != shape {
            let found = value.shape();
            return Some(format!(
                "the gradient of {name} is {found:?}, and it is {shape:?}"
            ));
        }
        (value.count_not_finite() > 0).then(|| format!("the gradient of {name} is NaN or infinite"))
    })
}

/// The parameters of the model that are not among `compared`.
fn uncompared(model: &ModelInfo, compared: &[Quantity]) -> Vec<String> {
    let compared: BTreeSet<&Quantity> = compared.iter().collect();
    let names = model.parameters.iter().map(|parameter| &parameter.name);
    names
        .filter(|name| !compared.contains(&Quantity::ParameterGradient((*name).clone())))
        .cloned()
        .collect()
}
