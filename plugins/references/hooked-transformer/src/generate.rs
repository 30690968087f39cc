//! Tokens that the model appends.

use candle_core::Tensor;
use tlbench_sdk::{
    ATTENTION_MASK, Evaluation, GenerateRequest, Sampling, Target, TraceRequest, uniform,
};

use crate::answer::Model;
use crate::cache::Cache;
use crate::convert::to_f64;
use crate::error::{Error, Result};
use crate::inputs::Inputs;
use crate::run::Probe;

/// The tokens that follow each row, `[batch, new]` of I64, the one that ends a row included. A row that has ended is
/// filled up with the first stop token. It ends before `max_new_tokens` if all rows have ended, or one that has not is
/// as long as the model's context.
///
/// All rows draw the same random number at the same step: each gets what it would get alone.
pub(crate) fn generate(
    model: &Model<'_>,
    request: &TraceRequest,
    generate: &GenerateRequest,
) -> Result<tlbench_sdk::Tensor> {
    let mut inputs = Inputs::new(&request.inputs)?;
    check(model, request, generate, &inputs)?;
    let quiet = TraceRequest::default();
    let mut cache = Cache::default();
    let mut chosen: Vec<Vec<i64>> = vec![Vec::new(); inputs.batch()];
    let mut ended = vec![false; inputs.batch()];
    let mut from = 0;
    for step in 0..generate.max_new_tokens {
        let mut probe = Probe::new(&quiet, model.hooks, model.dtype, inputs.pos())?;
        let piece = from..inputs.pos();
        let logits = model
            .forward(&inputs, piece, &mut cache, &mut probe)?
            .edited;
        for (row, logits) in last_position(&logits)?.iter().enumerate() {
            let token = match generate.stop_tokens.first() {
                Some(&stop) if ended[row] => stop,
                _ => next_token(logits, &generate.sampling, step)?,
            };
            append(&mut inputs, row, token, ended[row]);
            ended[row] |= generate.stop_tokens.contains(&token);
            chosen[row].push(token as i64);
        }
        if ended.iter().all(|&ended| ended) || is_full(model, &inputs, &ended) {
            break;
        }
        if generate.use_cache {
            from = inputs.pos() - 1;
        } else {
            cache = Cache::default();
        }
    }
    let shape = [chosen.len(), chosen.first().map_or(0, Vec::len)];
    let tokens = chosen.into_iter().flatten().collect();
    Ok(tlbench_sdk::Tensor::from_vec::<i64>(tokens, &shape)?)
}

fn check(
    model: &Model<'_>,
    request: &TraceRequest,
    generate: &GenerateRequest,
    inputs: &Inputs,
) -> Result<()> {
    let is_edit = |target: &Target| !matches!(target, Target::Weight(_));
    if request
        .interventions
        .iter()
        .any(|edit| is_edit(&edit.target))
    {
        return Err(Error::Unanswerable(
            "an edit at a hook during generation".into(),
        ));
    }
    if request.evaluation == Evaluation::Local {
        return Err(Error::Unanswerable("a local run during generation".into()));
    }
    if generate.max_new_tokens == 0 {
        return Err(Error::request("max_new_tokens", "at least 1", "0"));
    }
    if let Sampling::Temperature { temperature, .. } = generate.sampling
        && !(temperature.is_finite() && temperature > 0.0)
    {
        let found = temperature.to_string();
        return Err(Error::request(
            "temperature",
            "a finite number above 0",
            found,
        ));
    }
    let d_vocab = model.spec.unembed.d_vocab_out;
    if let Some(outside) = generate.stop_tokens.iter().find(|&&token| token >= d_vocab) {
        let expected = format!("values from 0 to {}", d_vocab - 1);
        return Err(Error::request("stop_tokens", expected, outside.to_string()));
    }
    match inputs.real.iter().position(|row| row.last() != Some(&true)) {
        Some(row) => Err(Error::request(
            ATTENTION_MASK,
            "rows that end with a token (padding on the left)",
            format!("padding at the end of row {row}"),
        )),
        None => Ok(()),
    }
}

/// After a row has ended, what is appended to it is padding.
fn append(inputs: &mut Inputs, row: usize, token: usize, has_ended: bool) {
    let last = inputs.positions[row].last().copied().unwrap_or(0);
    inputs.tokens[row].push(token as i64);
    inputs.positions[row].push(last + i64::from(!has_ended));
    inputs.real[row].push(!has_ended);
}

/// Whether a row that has not ended has no position left.
fn is_full(model: &Model<'_>, inputs: &Inputs, ended: &[bool]) -> bool {
    let Some(n_ctx) = model.spec.n_ctx else {
        return false;
    };
    let next = |row: &Vec<i64>| row.last().map_or(0, |&last| last + 1);
    let is_full = |row: &Vec<i64>| usize::try_from(next(row)).is_ok_and(|next| next >= n_ctx);
    let mut going = inputs
        .positions
        .iter()
        .zip(ended)
        .filter(|(_, ended)| !**ended);
    going.any(|(row, _)| is_full(row))
}

fn next_token(logits: &[f64], sampling: &Sampling, step: usize) -> Result<usize> {
    let best = logits.iter().enumerate().fold(0, |best, (token, &logit)| {
        // Of equal ones the first.
        if logit > logits[best] { token } else { best }
    });
    let max = logits[best];
    if !max.is_finite() {
        return Err(Error::request(
            "logits",
            "a largest one that is finite",
            max.to_string(),
        ));
    }
    let Sampling::Temperature { temperature, seed } = *sampling else {
        return Ok(best);
    };
    let weights: Vec<f64> = logits
        .iter()
        .map(|logit| ((logit - max) / temperature).exp())
        .collect();
    let drawn = uniform(seed, step) * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let reached = weights.iter().position(|weight| {
        sum += weight;
        sum > drawn
    });
    Ok(reached.unwrap_or(best))
}

/// The logits of each row at its last position.
fn last_position(logits: &Tensor) -> Result<Vec<Vec<f64>>> {
    let (_, pos, d_vocab) = logits.dims3()?;
    let last = to_f64(&logits.narrow(1, pos - 1, 1)?.contiguous()?)?;
    Ok(last.chunks(d_vocab).map(<[f64]>::to_vec).collect())
}
