//! One call after the other.

use tlbench_sdk::judge::applicable;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, GenerateRequest, Judgement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Sampling, Severity, Trace, TraceRequest, Verdict,
};

use crate::tokens::{generated, partings};
use crate::{MODULE, generating};

pub(crate) struct MultipleGenerationCalls;

impl Benchmark for MultipleGenerationCalls {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "multiple_generation_calls",
            MODULE,
            "neither order nor repetition of calls changes what is generated",
        )
        .explained(include_str!("explained/multiple_generation_calls.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let prompts: Vec<&TraceRequest> = generating(model)
            .map(|stimulus| &stimulus.request)
            .collect();
        let mut checks = Vec::new();
        for (variant, sampled) in [("greedy", false), ("sampled", true)] {
            let calls = prompts
                .iter()
                .map(|request| PlannedRequest::subject(asked(request, sampled)));
            let once: Vec<PlannedRequest> = calls.collect();
            // All prompts, then all again in the other order.
            let again = once.iter().rev().map(|planned| planned.clone().again());
            let again: Vec<PlannedRequest> = again.collect();
            checks.push(Check {
                variant: variant.to_owned(),
                requests: once.into_iter().chain(again).collect(),
            });
        }
        checks.retain(|check| !check.requests.is_empty());
        applicable(checks, "generated tokens")
    }

    fn judge(
        &self,
        _: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let (once, again) = answers.split_at(answers.len() / 2);
        for (call, (first, second)) in once.iter().zip(again.iter().rev()).enumerate() {
            if let Some(parting) = partings(generated(second)?, generated(first)?)?.first() {
                let message = format!(
                    "call {call} gives other tokens when it is made again after {} others: row {}, step {}",
                    check.requests.len() - 1,
                    parting.row,
                    parting.step
                );
                return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, message)));
            }
        }
        let message = format!(
            "{} calls give the same tokens in the other order",
            once.len()
        );
        Ok(Judgement::Verdict(Verdict::new(Severity::Info, message)))
    }
}

/// The same question, sampled instead if so.
fn asked(request: &TraceRequest, sampled: bool) -> TraceRequest {
    let sampling = if sampled {
        Sampling::Temperature {
            temperature: 1.0,
            seed: 5,
        }
    } else {
        Sampling::Greedy
    };
    TraceRequest {
        capture: vec![Quantity::Generated],
        generate: request.generate.clone().map(|generate| GenerateRequest {
            sampling,
            ..generate
        }),
        ..request.clone()
    }
}
