//! Scalars to differentiate, and losses.

use candle_core::{D, Device, Tensor};
use tlbench_sdk::{Objective, projection_weights};

use crate::convert::to_candle;
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// The scalar that `objective` makes of `logits [batch, pos, d_vocab_out]`.
pub(crate) fn scalar(objective: &Objective, logits: &Tensor, inputs: &Inputs) -> Result<Tensor> {
    let (batch, pos, d_vocab) = logits.dims3()?;
    match *objective {
        Objective::Loss => match next_token_losses(&log_softmax(logits)?, inputs)? {
            Some(losses) => Ok(mean(&losses, inputs)?),
            None => Err(Error::request("loss", "two tokens in a row", "none")),
        },
        Objective::Projection { seed } => {
            let weights = projection_weights(seed, [batch, pos, d_vocab])?;
            let weights = to_candle(&weights, logits.dtype())?;
            let real = inputs
                .real
                .iter()
                .flatten()
                .map(|&real| f64::from(u8::from(real)));
            let real = Tensor::from_vec(real.collect::<Vec<f64>>(), (batch, pos, 1), &Device::Cpu)?;
            let weights = weights.broadcast_mul(&real.to_dtype(logits.dtype())?)?;
            Ok((logits * weights)?.sum_all()?)
        }
        Objective::LogitDifference {
            position,
            token,
            minus,
        } => {
            for (what, index, size) in [
                ("position", position, pos),
                ("token", token, d_vocab),
                ("minus", minus, d_vocab),
            ] {
                if index >= size {
                    let expected = format!("an index below {size}");
                    return Err(Error::request(what, expected, index.to_string()));
                }
            }
            let at = logits.narrow(1, position, 1)?;
            let (token, minus) = (at.narrow(2, token, 1)?, at.narrow(2, minus, 1)?);
            Ok((token - minus)?.sum_all()?)
        }
    }
}

/// Over the last dimension.
pub(crate) fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let max = logits.detach().max_keepdim(D::Minus1)?;
    let shifted = logits.broadcast_sub(&max)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&log_sum)?)
}

/// The cross entropy of each next token, `[batch, pos - 1]`, 0 where either is padding; `None` for a single position.
pub(crate) fn next_token_losses(log_probs: &Tensor, inputs: &Inputs) -> Result<Option<Tensor>> {
    let (batch, pos, d_vocab) = log_probs.dims3()?;
    if pos < 2 {
        return Ok(None);
    }
    let mut targets = Vec::with_capacity(batch * (pos - 1));
    for &token in inputs.tokens.iter().flat_map(|row| &row[1..]) {
        let target = u32::try_from(token).ok();
        let target = target.filter(|&target| (target as usize) < d_vocab);
        targets.push(target.ok_or_else(|| {
            Error::request(
                "input_ids",
                format!("tokens below {d_vocab}"),
                token.to_string(),
            )
        })?);
    }
    let targets = Tensor::from_vec(targets, (batch, pos - 1, 1), &Device::Cpu)?;
    let picked = log_probs
        .narrow(1, 0, pos - 1)?
        .contiguous()?
        .gather(&targets, 2)?;
    let pairs = Tensor::from_vec(pairs(inputs), (batch, pos - 1), &Device::Cpu)?;
    let losses = picked.squeeze(2)?.neg()?;
    Ok(Some((losses * pairs.to_dtype(log_probs.dtype())?)?))
}

/// Over the pairs of tokens that are no padding; without one there is nothing to lose.
pub(crate) fn mean(losses: &Tensor, inputs: &Inputs) -> Result<Tensor> {
    let count: f64 = pairs(inputs).iter().sum();
    Ok((losses.sum_all()? * (1.0 / count.max(1.0)))?)
}

/// 1 for each pair of neighbours that are no padding, `[batch, pos - 1]`.
fn pairs(inputs: &Inputs) -> Vec<f64> {
    let rows = 0..inputs.batch();
    let pair = |row: usize, pos: usize| f64::from(u8::from(inputs.is_pair(row, pos)));
    rows.flat_map(|row| (0..inputs.pos() - 1).map(move |pos| pair(row, pos)))
        .collect()
}
