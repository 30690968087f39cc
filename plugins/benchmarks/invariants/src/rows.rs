//! Rows of a batch, with padding and without.

use tlbench_sdk::judge::{applicable, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, Padding, PlannedRequest, PluginError,
    Quantity, Stimulus, Trace, TraceRequest, is_padded,
};

use crate::sample::sample;
use crate::tokens::{Row, others, rows};
use crate::twins::{Stretch, Twins, agree};
use crate::{EXPLAINED, MODULE, for_logits, with_logits};

/// A row beside another of the same length.
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
        // What padding changes is another question.
        let single = with_logits(model).filter(|stimulus| {
            stimulus.request.shape()[0] == 1 && !is_padded(&stimulus.request.inputs)
        });
        let mut checks = Vec::new();
        for stimulus in sample(model, single) {
            for row in rows(&stimulus.request)?.into_iter().flatten() {
                checks.push(Check {
                    variant: stimulus.id.clone(),
                    requests: beside_another(model, &stimulus.request, row.tokens)?,
                });
            }
        }
        applicable(checks, "the logits of a single row")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let (Some(asked), [floors, alone, batches @ ..]) = (check.requests.first(), answers) else {
            return Err(wrong_count(answers));
        };
        if batches.len() != 2 {
            return Err(wrong_count(answers));
        }
        let [_, pos] = asked.request.shape();
        let twins = batches.iter().enumerate().map(|(row, batch)| {
            let complaint =
                format!("as row {row} of a batch of 2, the input gives other logits than alone");
            let (there, here) = (Stretch::beginning(row, pos), Stretch::beginning(0, pos));
            Twins::new((batch, there), (alone, here), complaint)
        });
        agree(model, floors, twins, "rows of a batch").map(Judgement::Verdict)
    }
}

/// The floors, the row alone, and as the first and the second of a batch of two.
fn beside_another(
    model: &ModelInfo,
    request: &TraceRequest,
    tokens: Vec<i64>,
) -> Result<Vec<PlannedRequest>, PluginError> {
    let other = others(&tokens, model.spec.d_vocab);
    let alone = for_logits(request);
    let mut requests = vec![
        PlannedRequest::reference(alone.clone()),
        PlannedRequest::subject(alone),
    ];
    for batch in [[tokens.clone(), other.clone()], [other, tokens]] {
        requests.push(in_batch(model, &batch)?);
    }
    Ok(requests)
}

/// Asks the subject for the logits of these rows.
fn in_batch(model: &ModelInfo, rows: &[Vec<i64>]) -> Result<PlannedRequest, PluginError> {
    let batch = Stimulus::from_rows("batch", rows, Padding::Right, 0)?;
    let request = model.request(batch.request.inputs, vec![Quantity::Logits]);
    Ok(PlannedRequest::subject(request))
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
        let mut checks = Vec::new();
        for stimulus in with_logits(model).filter(|stimulus| is_padded(&stimulus.request.inputs)) {
            let alone = rows(&stimulus.request)?
                .into_iter()
                .flatten()
                .map(|row| in_batch(model, &[row.tokens]))
                .collect::<Result<Vec<_>, PluginError>>()?;
            if alone.is_empty() {
                continue;
            }
            let batch = for_logits(&stimulus.request);
            let mut requests = vec![
                PlannedRequest::reference(batch.clone()),
                PlannedRequest::subject(batch),
            ];
            requests.extend(alone);
            checks.push(Check {
                variant: stimulus.id.clone(),
                requests,
            });
        }
        applicable(checks, "the logits of rows that are padded on a side")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let (Some(asked), [floors, batch, alone @ ..]) = (check.requests.first(), answers) else {
            return Err(wrong_count(answers));
        };
        let rows = rows(&asked.request)?;
        let known: Vec<(usize, &Row)> = rows
            .iter()
            .enumerate()
            .filter_map(|(index, row)| Some((index, row.as_ref()?)))
            .collect();
        if known.len() != alone.len() {
            return Err(wrong_count(answers));
        }
        let twins = known.into_iter().zip(alone).map(|((index, row), alone)| {
            let (start, len) = (row.place.start, row.tokens.len());
            let there = Stretch {
                row: index,
                start,
                len,
            };
            let complaint = format!("row {index} gives other logits with padding than without");
            Twins::new(
                (batch, there),
                (alone, Stretch::beginning(0, len)),
                complaint,
            )
        });
        let mut verdict = agree(model, floors, twins, "padded rows")?;
        let left_out = rows.len() - alone.len();
        if left_out > 0 {
            let why = "without a token, or with padding between tokens";
            verdict = verdict.detail("rows left out", format!("{left_out}: {why}"));
        }
        Ok(Judgement::Verdict(verdict))
    }
}

/// Beside a longer row a shorter one may be encoded as it is not alone.
fn refuse_length_dependent(model: &ModelInfo) -> Result<(), PluginError> {
    if model.spec.positions_depend_on_length() {
        return Err(PluginError::unsupported(
            "positions depend on the total length, so a longer row legitimately changes the ones beside it",
        ));
    }
    Ok(())
}
