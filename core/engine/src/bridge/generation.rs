//! Tokens that the model appends to its input.

use candle_core::Tensor as CandleTensor;
use tlbench_sdk::{
    ATTENTION_MASK, Evaluation, GenerateRequest, Quantity, Target, Tensor, TensorMap, TraceRequest,
};

use super::Bridge;
use crate::cache::KvCache;
use crate::convert::from_candle;
use crate::error::EngineError;
use crate::inputs::Inputs;
use crate::model::Model;
use crate::sampling;

impl Bridge {
    /// The tokens that follow each row of `inputs`, `[batch, new]` of I64, the token that ends a row included.
    ///
    /// Rows of unequal length are padded on the left. A row that has ended is filled up with the first stop token while
    /// others go on. There are fewer than `max_new_tokens` if all rows have ended, or one that has not is as long as the
    /// model's context.
    ///
    /// Each row is chosen for as it would be alone: all rows draw the same random number at the same step.
    ///
    /// # Errors
    /// If inputs or request are wrong.
    pub fn generate(
        &self,
        inputs: &TensorMap,
        request: &GenerateRequest,
    ) -> Result<Tensor, EngineError> {
        let mut trace = self.run(&TraceRequest {
            generate: Some(request.clone()),
            ..TraceRequest::new(inputs.clone(), vec![Quantity::Generated])
        })?;
        let generated = trace.values.remove(&Quantity::Generated);
        generated.ok_or_else(|| EngineError::request("generated", "tokens", "none"))
    }

    /// What follows `prompt`, whose logits are `logits`, and whose keys and values are in the cache if there is one.
    pub(super) fn continued(
        &self,
        request: &GenerateRequest,
        prompt: Inputs,
        mut cache: Option<&mut KvCache>,
        mut logits: CandleTensor,
    ) -> Result<Tensor, EngineError> {
        let plain = TraceRequest::default();
        let mut rows = Rows::after(&prompt, request, self.model.n_ctx);
        // Without a cache, all there is so far.
        let mut inputs = prompt;
        while !rows.have_ended() {
            rows.append(&last_position(&logits)?)?;
            if rows.have_ended() {
                break;
            }
            let column = rows.last_column();
            inputs = match cache {
                Some(_) => column,
                None => inputs.followed_by(&column),
            };
            let pass = self.forward(&plain, &inputs, cache.as_deref_mut())?;
            logits = pass.logits.edited;
        }
        rows.tokens()
    }
}

/// Refuses what cannot be generated from.
pub(super) fn check(
    model: &Model,
    request: &TraceRequest,
    generate: &GenerateRequest,
    inputs: &Inputs,
) -> Result<(), EngineError> {
    let wrong = |what: &str, expected: &str, found: String| {
        Err(EngineError::request(what, expected, found))
    };
    let is_edit = |target: &Target| !matches!(target, Target::Weight(_));
    if request
        .interventions
        .iter()
        .any(|edit| is_edit(&edit.target))
    {
        return Err(EngineError::Unanswerable(
            "an edit at a hook during generation".to_owned(),
        ));
    }
    if request.evaluation == Evaluation::Local {
        return Err(EngineError::Unanswerable(
            "a local run during generation".to_owned(),
        ));
    }
    if !request.chunks.is_empty() && !generate.use_cache {
        return wrong(
            "chunks",
            "generation with a cache",
            "one without".to_owned(),
        );
    }
    if generate.max_new_tokens == 0 {
        return wrong("max_new_tokens", "at least 1", "0".to_owned());
    }
    sampling::check(&generate.sampling)?;
    let d_vocab = model.d_vocab_out;
    if let Some(outside) = generate.stop_tokens.iter().find(|&&token| token >= d_vocab) {
        let expected = format!("values from 0 to {}", d_vocab - 1);
        return wrong("stop_tokens", &expected, outside.to_string());
    }
    let right_padded = (0..inputs.batch).find(|&row| !inputs.tokens(row).ends_with(&[true]));
    match right_padded {
        Some(row) => wrong(
            ATTENTION_MASK,
            "rows that end with a token (padding on the left)",
            format!("padding at the end of row {row}"),
        ),
        None => Ok(()),
    }
}

/// The rows of a batch while they grow.
struct Rows<'a> {
    request: &'a GenerateRequest,
    n_ctx: Option<usize>,
    rows: Vec<Row>,
}

struct Row {
    tokens: Vec<i64>,
    /// Of the last token.
    position: i64,
    has_ended: bool,
}

impl<'a> Rows<'a> {
    fn after(prompt: &Inputs, request: &'a GenerateRequest, n_ctx: Option<usize>) -> Self {
        let last = prompt.position_ids.chunks(prompt.pos).map(<[i64]>::last);
        let rows = last.map(|position| Row {
            tokens: Vec::new(),
            position: position.copied().unwrap_or(0),
            has_ended: false,
        });
        Self {
            request,
            n_ctx,
            rows: rows.collect(),
        }
    }

    fn len(&self) -> usize {
        self.rows.first().map_or(0, |row| row.tokens.len())
    }

    /// Whether no token can follow, or none is wanted.
    fn have_ended(&self) -> bool {
        let is_full = |row: &Row| {
            let next = usize::try_from(row.position + 1).unwrap_or(0);
            !row.has_ended && self.n_ctx.is_some_and(|n_ctx| next >= n_ctx)
        };
        self.len() == self.request.max_new_tokens
            || self.rows.iter().all(|row| row.has_ended)
            || self.rows.iter().any(is_full)
    }

    /// Chooses a token for each row by its logits.
    fn append(&mut self, logits: &[Vec<f64>]) -> Result<(), EngineError> {
        let step = self.len();
        let GenerateRequest {
            stop_tokens,
            sampling,
            ..
        } = self.request;
        for (row, logits) in self.rows.iter_mut().zip(logits) {
            let token = match stop_tokens.first() {
                Some(&stop) if row.has_ended => stop,
                _ => {
                    row.position += 1;
                    sampling::next_token(logits, sampling, step)?
                }
            };
            row.has_ended |= stop_tokens.contains(&token);
            row.tokens.push(token as i64);
        }
        Ok(())
    }

    /// The last token of each row as an input; in a row that has ended it is padding.
    fn last_column(&self) -> Inputs {
        let last = |row: &Row| row.tokens.last().copied().unwrap_or(0);
        Inputs {
            batch: self.rows.len(),
            pos: 1,
            input_ids: self.rows.iter().map(last).collect(),
            position_ids: self.rows.iter().map(|row| row.position).collect(),
            attention_mask: self.rows.iter().map(|row| !row.has_ended).collect(),
        }
    }

    fn tokens(self) -> Result<Tensor, EngineError> {
        let shape = [self.rows.len(), self.len()];
        let tokens = self.rows.into_iter().flat_map(|row| row.tokens).collect();
        Tensor::from_vec(tokens, &shape).map_err(|error| {
            EngineError::request("generated", format!("shape {shape:?}"), error.to_string())
        })
    }
}

/// Each row's logits at its last position.
fn last_position(logits: &CandleTensor) -> Result<Vec<Vec<f64>>, EngineError> {
    let (_, pos, d_vocab) = logits.dims3()?;
    let last = from_candle(&logits.narrow(1, pos - 1, 1)?)?;
    let rows = last.to_f64_vec();
    Ok(rows.chunks(d_vocab).map(<[f64]>::to_vec).collect())
}
