//! Every combination of steps keeps what the model computes.

use tlbench_sdk::Mode;
use tlbench_sdk::compare::log_softmax;
use tlbench_sdk::judge::{Forward, applicable, judge_forward, plan_forward, richest};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, OptionInfo, Parameter, PluginError,
    Processing, ProcessingStep, Quantity, Trace, TraceRequest, Verdict,
};

use crate::questions::{in_compatibility_mode, variant};
use crate::{EXPLAINED, MODULE};

const EXHAUSTIVE_UP_TO: &str = "exhaustive_up_to";

pub(crate) struct WeightProcessing;

impl Benchmark for WeightProcessing {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "weight_processing",
            MODULE,
            "hooks, logits and distributions are right after every combination of steps",
        )
        .explained(EXPLAINED)
        .only_in(Mode::Compat)
        .taking(options())
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let sampled = is_sampled(model)?;
        in_compatibility_mode(model)?;
        let mut request = richest(model, |_| true)?.request.clone();
        request
            .capture
            .retain(|quantity| matches!(quantity, Quantity::Hook(_) | Quantity::Logits));
        let combinations = model.processing.combinations().into_iter();
        let chosen = combinations.filter(|steps| !sampled || is_sample(steps, &model.processing));
        let check = |steps: Processing| {
            let variant = variant(&steps);
            plan_forward(model, &variant, request.clone().processed(steps))
        };
        let checks = if request.capture.is_empty() {
            Vec::new()
        } else {
            chosen.map(check).collect()
        };
        applicable(checks, "a hook or the logits")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let (check, answers) = match answers {
            [truth, subject, rest @ ..] if !rest.is_empty() => {
                let mut answers = vec![with_log_probs(truth), with_log_probs(subject)];
                answers.extend_from_slice(rest);
                (with_log_probs_asked(check), answers)
            }
            _ => (check.clone(), answers.to_vec()),
        };
        Ok(
            match judge_forward(model, &check, |_| true, &answers, None)? {
                Forward::Local(requests) | Forward::Readers(requests, _) => {
                    Judgement::More(requests)
                }
                Forward::Done(findings) => {
                    Judgement::Verdict(described(findings.verdict(model, "values"), model)?)
                }
            },
        )
    }
}

fn options() -> Vec<OptionInfo> {
    let description = "megabytes of parameters up to which every combination of steps is tried";
    vec![OptionInfo::new(EXHAUSTIVE_UP_TO, 64, description).at_least(0.0)]
}

/// Whether there are too many parameters for every combination.
fn is_sampled(model: &ModelInfo) -> Result<bool, PluginError> {
    let limit = model.options(&options())?.count(EXHAUSTIVE_UP_TO);
    let elements: usize = model.parameters.iter().map(Parameter::elements).sum();
    Ok(elements.saturating_mul(4) > limit.saturating_mul(1_000_000))
}

/// Single steps, and all together.
fn is_sample(steps: &Processing, all: &Processing) -> bool {
    steps.steps().count() == 1 || steps == all
}

/// The distribution says what the logits do where a constant on all of them is nothing.
fn with_log_probs(answer: &Trace) -> Trace {
    let mut answer = answer.clone();
    if let Some(logits) = answer.value(&Quantity::Logits) {
        let log_probs = log_softmax(logits);
        answer.values.insert(Quantity::LogProbs, log_probs);
    }
    answer
}

fn with_log_probs_asked(check: &Check) -> Check {
    let mut check = check.clone();
    if let Some(planned) = check.requests.first_mut() {
        let TraceRequest { capture, .. } = &mut planned.request;
        if capture.contains(&Quantity::Logits) {
            capture.push(Quantity::LogProbs);
        }
    }
    check
}

/// Says what was left out, and why.
fn described(mut verdict: Verdict, model: &ModelInfo) -> Result<Verdict, PluginError> {
    if is_sampled(model)? {
        let note = "; sampled: each step alone, and all together";
        verdict.message.push_str(note);
    }
    for step in ProcessingStep::ALL {
        if let Some(reason) = step.refusal(&model.spec) {
            verdict = verdict.detail(format!("not admitted: {step}"), reason);
        }
    }
    Ok(verdict)
}
