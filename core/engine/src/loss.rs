//! The next-token loss.

use candle_core::{DType as CandleDType, Tensor as CandleTensor};
use tlbench_sdk::{DType, Tensor};

use crate::convert::from_candle;
use crate::error::EngineError;
use crate::inputs::Inputs;

/// The cross entropy of each next token, `[batch, pos - 1]`, and its mean over pairs of tokens that are not padding.
/// A pair with padding has loss 0.
pub(crate) fn next_token_loss(
    logits: &CandleTensor,
    inputs: &Inputs,
) -> Result<(Tensor, Tensor), EngineError> {
    let dtype = logits.dtype();
    let logits = from_candle(logits)?;
    let d_vocab = logits.shape()[2];
    let values = logits.to_f64_vec();
    let (mut losses, mut sum, mut pairs) = (Vec::new(), 0.0, 0_usize);
    for row in 0..inputs.batch {
        for pos in 0..inputs.pos - 1 {
            if !inputs.is_pair(row, pos) {
                losses.push(0.0);
                continue;
            }
            let at = row * inputs.pos + pos;
            let target = inputs.input_ids[at + 1];
            let row_logits = &values[at * d_vocab..(at + 1) * d_vocab];
            let picked = usize::try_from(target)
                .ok()
                .and_then(|target| row_logits.get(target))
                .ok_or_else(|| {
                    EngineError::request(
                        "input_ids",
                        format!("tokens below {d_vocab}"),
                        target.to_string(),
                    )
                })?;
            let loss = log_sum_exp(row_logits) - picked;
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
