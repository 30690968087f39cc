//! Rows of a batch, with padding and without.

use tlbench_sdk::judge::{applicable, wrong_count};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, INPUT_IDS, Judgement, ModelInfo, Padding,
    PlannedRequest, PluginError, Quantity, Stimulus, Trace, TraceRequest,
};

use crate::twin::{Stretch, agree, logits};
use crate::{EXPLAINED, MODULE, refuse_length_dependent, with_logits};

/// A row beside others of the same length.
pub(crate) struct BatchRows;

impl Benchmark for BatchRows {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "batch_rows",
            MODULE,
            "a row of a batch gives the logits that it gives alone",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let checks = with_logits(model).filter(|stimulus| stimulus.request.shape()[0] == 1);
        let checks = checks.map(|stimulus| {
            let tokens = &real_tokens(&stimulus.request)?[0];
            // The same tokens the other way round, so that rows differ and have the same length.
            let other: Vec<i64> = tokens.iter().rev().copied().collect();
            let batch = Stimulus::from_rows("batch", &[other, tokens.clone()], Padding::Right, 0)?;
            Ok(Check {
                variant: stimulus.id.clone(),
                requests: vec![
                    PlannedRequest::reference(for_logits(&stimulus.request)),
                    PlannedRequest::subject(for_logits(&stimulus.request)),
                    PlannedRequest::subject(
                        model.request(batch.request.inputs, vec![Quantity::Logits]),
                    ),
                ],
            })
        });
        let checks = checks.collect::<Result<Vec<_>, PluginError>>()?;
        applicable(checks, "the logits of a single row")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [floors, alone, batch] = answers else {
            return Err(wrong_count(answers));
        };
        let [_, len] = check.requests[0].request.shape();
        let of = |row| Stretch { row, start: 0, len };
        let pair = (logits(batch, of(1))?, logits(alone, of(0))?);
        agree(model, floors, vec![pair], "row of a batch")
    }
}

/// Rows that were filled up.
pub(crate) struct PaddingChangesNothing;

impl Benchmark for PaddingChangesNothing {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "padding",
            MODULE,
            "padding on either side changes no logit of a token",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        refuse_length_dependent(model)?;
        let padded = with_logits(model).filter(|stimulus| is_padded(&stimulus.request));
        let checks = padded.map(|stimulus| {
            let batch = for_logits(&stimulus.request);
            let mut requests = vec![
                PlannedRequest::reference(batch.clone()),
                PlannedRequest::subject(batch),
            ];
            for tokens in real_tokens(&stimulus.request)? {
                let alone = Stimulus::from_rows("alone", &[tokens], Padding::Right, 0)?;
                let alone = model.request(alone.request.inputs, vec![Quantity::Logits]);
                requests.push(PlannedRequest::subject(alone));
            }
            Ok(Check {
                variant: stimulus.id.clone(),
                requests,
            })
        });
        let checks = checks.collect::<Result<Vec<_>, PluginError>>()?;
        applicable(checks, "the logits of a padded batch")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [floors, batch, alone @ ..] = answers else {
            return Err(wrong_count(answers));
        };
        let mask = mask(&check.requests[0].request)?;
        let pairs = mask
            .iter()
            .zip(alone)
            .enumerate()
            .map(|(row, (mask, alone))| {
                let start = mask.iter().position(|&real| real).unwrap_or(0);
                let len = mask.iter().filter(|&&real| real).count();
                let padded = logits(batch, Stretch { row, start, len })?;
                let alone = logits(
                    alone,
                    Stretch {
                        row: 0,
                        start: 0,
                        len,
                    },
                )?;
                Ok((padded, alone))
            });
        agree(
            model,
            floors,
            pairs.collect::<Result<_, PluginError>>()?,
            "padded rows",
        )
    }
}

fn for_logits(request: &TraceRequest) -> TraceRequest {
    TraceRequest {
        capture: vec![Quantity::Logits],
        ..request.clone()
    }
}

fn is_padded(request: &TraceRequest) -> bool {
    mask(request).is_ok_and(|mask| mask.iter().flatten().any(|&real| !real))
}

/// Where there is a token, row by row.
fn mask(request: &TraceRequest) -> Result<Vec<Vec<bool>>, PluginError> {
    let rows = integers(request, ATTENTION_MASK)?;
    let real = |row: Vec<i64>| row.into_iter().map(|value| value != 0).collect();
    Ok(rows.into_iter().map(real).collect())
}

/// The tokens of each row, without padding.
fn real_tokens(request: &TraceRequest) -> Result<Vec<Vec<i64>>, PluginError> {
    let rows = integers(request, INPUT_IDS)?
        .into_iter()
        .zip(mask(request)?);
    let real = |(tokens, mask): (Vec<i64>, Vec<bool>)| {
        let kept = tokens.into_iter().zip(mask).filter(|(_, real)| *real);
        kept.map(|(token, _)| token).collect()
    };
    Ok(rows.map(real).collect())
}

fn integers(request: &TraceRequest, name: &str) -> Result<Vec<Vec<i64>>, PluginError> {
    let missing = || PluginError::internal(format!("a question without {name} of integers"));
    let tensor = request.inputs.get(name).ok_or_else(missing)?;
    let values = tensor.as_slice::<i64>().ok_or_else(missing)?;
    let width = tensor.shape().last().copied().unwrap_or(1).max(1);
    Ok(values.chunks(width).map(<[i64]>::to_vec).collect())
}
