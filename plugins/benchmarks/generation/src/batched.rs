//! Rows of a padded batch against the same rows alone, and cached generation against uncached.

use tlbench_sdk::judge::applicable;
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, GenerateRequest, INPUT_IDS, Judgement,
    ModelInfo, Padding, PlannedRequest, PluginError, Quantity, Severity, Stimulus, Trace,
    TraceRequest, Verdict,
};

use crate::greedy::verdict;
use crate::tokens::{Parting, continued, generated, margin, partings, rows};
use crate::{MODULE, generating};

pub(crate) struct BatchedGeneration;

impl Benchmark for BatchedGeneration {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "batched_generation",
            MODULE,
            "each row of a padded batch gives the tokens that it gives alone, and a cache changes none",
        )
        .explained(include_str!("explained/batched_generation.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let mut checks = Vec::new();
        for stimulus in generating(model) {
            let request = TraceRequest {
                capture: vec![Quantity::Generated],
                ..stimulus.request.clone()
            };
            checks.push(Check {
                variant: format!("{}.uncached", stimulus.id),
                requests: vec![
                    PlannedRequest::subject(request.clone()),
                    PlannedRequest::subject(uncached(&request)),
                ],
            });
            if request.shape()[0] > 1 {
                let alone = alone(model, stimulus)?;
                checks.push(Check {
                    variant: format!("{}.rows", stimulus.id),
                    requests: std::iter::once(request)
                        .chain(alone)
                        .map(PlannedRequest::subject)
                        .collect(),
                });
            }
        }
        applicable(checks, "generated tokens")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let asked = check
            .requests
            .iter()
            .filter(|planned| planned.request.generate.is_some())
            .count();
        let (generations, logits) = answers.split_at(asked.min(answers.len()));
        let Some((batch, others)) = generations.split_first() else {
            return Err(PluginError::internal("no answer to judge"));
        };
        let mut found = Vec::new();
        for (index, other) in others.iter().enumerate() {
            let expected = generated(other)?;
            if check.variant.ends_with(".rows") {
                let row = generated(batch)?.row(index);
                let row = row.ok_or_else(|| PluginError::internal("a row is missing"))?;
                let ended = ended_alike(&row, expected)?;
                found.extend(ended.map(|parting| Parting {
                    row: index,
                    ..parting
                }));
            } else {
                found.extend(partings(generated(batch)?, expected)?);
            }
        }
        if found.is_empty() {
            let message = format!("{} rows give the same tokens", generated(batch)?.shape()[0]);
            return Ok(Judgement::Verdict(Verdict::new(Severity::Info, message)));
        }
        let request = &check.requests[0].request;
        let Some(logits) = logits.first() else {
            let asked = model.request(
                continued(request, generated(batch)?)?,
                vec![Quantity::Logits],
            );
            return Ok(Judgement::More(vec![PlannedRequest::subject(asked)]));
        };
        let [_, prompt] = request.shape();
        let margins: Vec<_> = found
            .into_iter()
            .map(|parting| (parting, margin(logits, &parting, prompt, model.dtype)))
            .collect();
        Ok(Judgement::Verdict(verdict(&margins)))
    }
}

fn uncached(request: &TraceRequest) -> TraceRequest {
    TraceRequest {
        generate: request.generate.clone().map(|generate| GenerateRequest {
            use_cache: !generate.use_cache,
            ..generate
        }),
        ..request.clone()
    }
}

/// Each row by itself, without its padding.
fn alone(model: &ModelInfo, stimulus: &Stimulus) -> Result<Vec<TraceRequest>, PluginError> {
    let input = |name: &str| {
        let missing = || PluginError::internal(format!("a question without {name}"));
        rows(stimulus.request.inputs.get(name).ok_or_else(missing)?)
    };
    let (ids, mask) = (input(INPUT_IDS)?, input(ATTENTION_MASK)?);
    let row = |(ids, mask): (&Vec<i64>, &Vec<i64>)| {
        let tokens: Vec<i64> = ids
            .iter()
            .zip(mask)
            .filter(|(_, real)| **real != 0)
            .map(|(id, _)| *id)
            .collect();
        let inputs = Stimulus::from_rows("alone", &[tokens], Padding::Left, 0)?
            .request
            .inputs;
        Ok(TraceRequest {
            generate: stimulus.request.generate.clone(),
            ..model.request(inputs, vec![Quantity::Generated])
        })
    };
    ids.iter().zip(&mask).map(row).collect()
}

/// The parting of a row of a batch from the same row alone: in the batch it may be filled up behind its end.
fn ended_alike(
    row: &tlbench_sdk::Tensor,
    alone: &tlbench_sdk::Tensor,
) -> Result<Option<Parting>, PluginError> {
    let (in_batch, by_itself) = (rows(row)?, rows(alone)?);
    let (in_batch, by_itself) = (&in_batch[0], by_itself.first());
    let by_itself = by_itself.ok_or_else(|| PluginError::internal("no row"))?;
    let step = (0..by_itself.len()).find(|&step| in_batch.get(step) != by_itself.get(step));
    Ok(step.map(|step| Parting {
        row: 0,
        step,
        found: in_batch.get(step).copied(),
        expected: by_itself.get(step).copied(),
    }))
}
