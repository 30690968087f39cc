//! One call after the other.

use tlbench_sdk::judge::{applicable, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, GenerateRequest, Judgement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Sampling, Severity, Tensor, Trace, TraceRequest, Verdict, is_large,
};

use crate::tokens::{generated, partings, refuse_silence};
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
        let sampled = Sampling::Temperature {
            temperature: 1.0,
            seed: 5,
        };
        let mut checks = Vec::new();
        for (variant, sampling) in [("greedy", Sampling::Greedy), ("sampled", sampled)] {
            let calls = generating(model)
                .take(prompts(model, &sampling))
                .map(|stimulus| PlannedRequest::subject(asked(&stimulus.request, &sampling)));
            let once: Vec<PlannedRequest> = calls.collect();
            // All prompts, then all again in the other order.
            let again: Vec<PlannedRequest> = once
                .iter()
                .cloned()
                .rev()
                .map(PlannedRequest::again)
                .collect();
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
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        if answers.len() != check.requests.len() {
            return Err(wrong_count(answers));
        }
        let tokens = answers
            .iter()
            .map(generated)
            .collect::<Result<Vec<&Tensor>, PluginError>>()?;
        let (once, again) = tokens.split_at(tokens.len() / 2);
        let calls = once.iter().zip(again.iter().rev());
        for (stimulus, (first, second)) in generating(model).zip(calls) {
            if let Some(parting) = partings(second, first)?.first() {
                let message = format!(
                    "{} gives other tokens when it is asked for again: {}",
                    stimulus.id,
                    parting.text("the first call")
                );
                return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, message)));
            }
        }
        refuse_silence(once.iter().copied())?;
        let calls = match once.len() {
            1 => "1 call gives".to_owned(),
            count => format!("{count} calls give"),
        };
        let message = format!("{calls} the same tokens again, in the other order");
        Ok(Judgement::Verdict(Verdict::new(Severity::Info, message)))
    }
}

/// How many prompts are continued. What one call leaves to another shows in greedy tokens; of a large model sampling
/// takes one prompt, which shows that the seed alone decides.
fn prompts(model: &ModelInfo, sampling: &Sampling) -> usize {
    match sampling {
        Sampling::Temperature { .. } if is_large(&model.parameters) => 1,
        _ => usize::MAX,
    }
}

/// The same question for tokens that are chosen by `sampling`.
fn asked(request: &TraceRequest, sampling: &Sampling) -> TraceRequest {
    TraceRequest {
        capture: vec![Quantity::Generated],
        generate: request.generate.clone().map(|generate| GenerateRequest {
            sampling: sampling.clone(),
            ..generate
        }),
        ..request.clone()
    }
}
