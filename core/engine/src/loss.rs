//! The next-token loss.

use candle_core::{DType as CandleDType, Tensor as CandleTensor};
use rayon::prelude::*;
use tlbench_sdk::{DType, Tensor};

use crate::error::EngineError;
use crate::inputs::Inputs;
use crate::ops::CHUNK;

/// The cross entropy of each next token, `[batch, pos - 1]`, and its mean over pairs of tokens that are not padding.
/// A pair with padding has loss 0.
pub(crate) fn next_token_loss(
    logits: &CandleTensor,
    inputs: &Inputs,
) -> Result<(Tensor, Tensor), EngineError> {
    let (dtype, d_vocab) = (logits.dtype(), logits.dim(2)?);
    let (mut losses, mut sum, mut pairs) = (Vec::new(), 0.0, 0_usize);
    for row in 0..inputs.batch {
        for pos in 0..inputs.pos - 1 {
            if !inputs.is_pair(row, pos) {
                losses.push(0.0);
                continue;
            }
            let at = row * inputs.pos + pos;
            // One row after the other, as all of them in f64 take twice the memory of the logits.
            let here = logits.narrow(0, row, 1)?.narrow(1, pos, 1)?;
            let here = here.to_dtype(CandleDType::F64)?.flatten_all()?;
            let here = here.to_vec1::<f64>()?;
            let loss = log_sum_exp(&here) - here[target(inputs, at, d_vocab)?];
            losses.push(loss);
            sum += loss;
            pairs += 1;
        }
    }
    let mean = if pairs == 0 {
        f64::NAN
    } else {
        sum / pairs as f64
    };
    let shape = [inputs.batch, inputs.pos - 1];
    Ok((
        in_dtype(losses, &shape, dtype)?,
        in_dtype(vec![mean], &[], dtype)?,
    ))
}

/// The gradient of the mean loss by the logits, in F64: the probabilities less 1 at the target, over the number of pairs.
pub(crate) fn loss_gradient(
    logits: &CandleTensor,
    inputs: &Inputs,
) -> Result<CandleTensor, EngineError> {
    let (shape, d_vocab) = (logits.dims(), logits.dim(2)?);
    let mut values = logits
        .detach()
        .to_dtype(CandleDType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?;
    let is_pair = |at: usize| inputs.is_pair(at / inputs.pos, at % inputs.pos);
    let pairs = (0..inputs.batch * inputs.pos)
        .filter(|&at| is_pair(at))
        .count();
    if pairs == 0 {
        return Err(EngineError::request(
            "the gradient of the loss",
            "two neighbouring tokens that are not padding",
            "none",
        ));
    }
    let scale = 1.0 / pairs as f64;
    values
        .par_chunks_mut(d_vocab)
        .with_min_len((CHUNK / d_vocab.max(1)).max(1))
        .enumerate()
        .try_for_each(|(at, row)| {
            if !is_pair(at) {
                row.fill(0.0);
                return Ok(());
            }
            let target = target(inputs, at, d_vocab)?;
            let log_sum = log_sum_exp(row);
            for value in row.iter_mut() {
                *value = (*value - log_sum).exp() * scale;
            }
            row[target] -= scale;
            Ok::<(), EngineError>(())
        })?;
    Ok(CandleTensor::from_vec(values, shape, logits.device())?)
}

/// The token that the logits at `at` should give.
fn target(inputs: &Inputs, at: usize, d_vocab: usize) -> Result<usize, EngineError> {
    let token = inputs.input_ids[at + 1];
    let target = usize::try_from(token)
        .ok()
        .filter(|&target| target < d_vocab);
    target.ok_or_else(|| {
        EngineError::request(
            "input_ids",
            format!("tokens below {d_vocab}"),
            token.to_string(),
        )
    })
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values
        .iter()
        .map(|value| (value - max).exp())
        .sum::<f64>()
        .ln()
        + max
}

fn in_dtype(values: Vec<f64>, shape: &[usize], dtype: CandleDType) -> Result<Tensor, EngineError> {
    let tensor = match dtype {
        CandleDType::F64 => Tensor::from_vec(values, shape),
        _ => Tensor::from_vec(
            values
                .into_iter()
                .map(|value| value as f32)
                .collect::<Vec<f32>>(),
            shape,
        ),
    };
    tensor.map_err(|error| EngineError::Unanswerable(format!("a loss in {}: {error}", DType::F32)))
}
