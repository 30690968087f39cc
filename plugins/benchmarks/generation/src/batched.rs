//! Rows of a padded batch against the same rows alone, and cached generation against uncached.

use tlbench_sdk::judge::applicable;
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, GenerateRequest, INPUT_IDS, Judgement,
    ModelInfo, Padding, PlannedRequest, PluginError, Quantity, Stimulus, Tensor, Trace,
    TraceRequest, is_large,
};

use crate::tokens::{Parting, generated, input, parting_from_row, partings};
use crate::{MODULE, generating, refuse_positions_by_length, ties};

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
        refuse_positions_by_length(model)?;
        let floors = ties::floors(model);
        let check = |variant: String, first: TraceRequest, others: Vec<TraceRequest>| Check {
            variant,
            requests: std::iter::once(first)
                .chain(others)
                .map(PlannedRequest::subject)
                .chain(floors.clone())
                .collect(),
        };
        // Without a cache, each token costs a run over all before it.
        let batches_alone = is_large(&model.parameters) && generating(model).any(is_batch);
        let mut checks = Vec::new();
        for stimulus in generating(model) {
            let request = TraceRequest {
                capture: vec![Quantity::Generated],
                ..stimulus.request.clone()
            };
            let cached = with_cache(&request, true);
            let uncached = with_cache(&request, false);
            if is_batch(stimulus) || !batches_alone {
                checks.push(check(
                    format!("{}.uncached", stimulus.id),
                    cached,
                    vec![uncached],
                ));
            }
            if is_batch(stimulus) {
                let alone = alone(&request)?;
                checks.push(check(format!("{}.rows", stimulus.id), request, alone));
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
        let asked = check.requests.iter().zip(answers);
        let generations = asked
            .filter(|(planned, _)| planned.request.generate.is_some())
            .map(|(_, answer)| generated(answer))
            .collect::<Result<Vec<&Tensor>, PluginError>>()?;
        let (batch, partings, other) = match generations[..] {
            [cached, uncached] => {
                let partings = partings(cached, uncached)?;
                (cached, partings, "a run without a cache")
            }
            [batch, ref alone @ ..] if alone.len() > 1 => (
                batch,
                from_rows(batch, alone, filler(check))?,
                "a run of the row alone",
            ),
            _ => {
                let message = format!("{} generations to compare", generations.len());
                return Err(PluginError::internal(message));
            }
        };
        ties::judge(model, check, answers, &partings, batch, other)
    }
}

fn is_batch(stimulus: &Stimulus) -> bool {
    stimulus.request.shape()[0] > 1
}

fn with_cache(request: &TraceRequest, use_cache: bool) -> TraceRequest {
    let generate = request.generate.clone();
    TraceRequest {
        generate: generate.map(|generate| GenerateRequest {
            use_cache,
            ..generate
        }),
        ..request.clone()
    }
}

/// Each row by itself, without its padding.
fn alone(request: &TraceRequest) -> Result<Vec<TraceRequest>, PluginError> {
    let (ids, mask) = (input(request, INPUT_IDS)?, input(request, ATTENTION_MASK)?);
    let row = |(ids, mask): (Vec<i64>, Vec<i64>)| {
        let real = ids.into_iter().zip(mask).filter(|(_, real)| *real != 0);
        let tokens = real.map(|(id, _)| id).collect();
        let alone = Stimulus::from_rows("alone", &[tokens], Padding::Left, 0)?;
        Ok(TraceRequest {
            inputs: alone.request.inputs,
            ..request.clone()
        })
    };
    ids.into_iter().zip(mask).map(row).collect()
}

/// What fills up a row that has ended.
fn filler(check: &Check) -> Option<i64> {
    let generate = check.requests.first()?.request.generate.as_ref()?;
    i64::try_from(*generate.stop_tokens.first()?).ok()
}

/// Where rows of `batch` part from the same rows alone.
fn from_rows(
    batch: &Tensor,
    alone: &[&Tensor],
    filler: Option<i64>,
) -> Result<Vec<Parting>, PluginError> {
    if batch.shape().first() != Some(&alone.len()) {
        return Err(PluginError::internal(format!(
            "tokens {:?} of a batch of {}",
            batch.shape(),
            alone.len()
        )));
    }
    let rows = alone.iter().enumerate();
    let partings = rows.map(|(row, alone)| parting_from_row(batch, row, alone, filler));
    Ok(partings
        .collect::<Result<Vec<_>, PluginError>>()?
        .into_iter()
        .flatten()
        .collect())
}
