//! What is differentiated: scalar functions of the logits, with their gradients.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use tlbench_sdk::{Objective, projection_weights};

use crate::error::EngineError;
use crate::inputs::Inputs;
use crate::loss::loss_gradient;

/// `objective` as a scalar that [`Tensor::backward`] starts from. Only its gradient is of use: its value is 0.
pub(crate) fn differentiable(
    objective: &Objective,
    logits: &Tensor,
    inputs: &Inputs,
) -> std::result::Result<Tensor, EngineError> {
    let gradient = match objective {
        Objective::Loss => loss_gradient(logits, inputs)?,
        Objective::Projection { seed } => projection(*seed, logits, inputs)?,
        Objective::LogitDifference {
            position,
            token,
            minus,
        } => logit_difference(logits, *position, *token, *minus)?,
    };
    let gradient = gradient.to_dtype(logits.dtype())?;
    Ok(logits.contiguous()?.apply_op1(Seed { gradient })?)
}

/// The weights of all tokens that are not padding.
fn projection(
    seed: u64,
    logits: &Tensor,
    inputs: &Inputs,
) -> std::result::Result<Tensor, EngineError> {
    let (batch, pos, d_vocab) = logits.dims3()?;
    let weights = projection_weights(seed, [batch, pos, d_vocab])
        .map_err(|error| candle_core::Error::Msg(error.to_string()))?;
    let mut weights = weights.to_f64_vec();
    for (at, weights) in weights.chunks_mut(d_vocab).enumerate() {
        if !inputs.is_real(at / pos, at % pos) {
            weights.fill(0.0);
        }
    }
    Ok(Tensor::from_vec(weights, logits.dims(), &Device::Cpu)?)
}

fn logit_difference(
    logits: &Tensor,
    position: usize,
    token: usize,
    minus: usize,
) -> std::result::Result<Tensor, EngineError> {
    let (batch, pos, d_vocab) = logits.dims3()?;
    for (what, index, size) in [
        ("position", position, pos),
        ("token", token, d_vocab),
        ("minus", minus, d_vocab),
    ] {
        if index >= size {
            return Err(EngineError::request(
                format!("logit difference: {what}"),
                format!("an index below {size}"),
                index.to_string(),
            ));
        }
    }
    let mut gradient = vec![0.0_f64; batch * pos * d_vocab];
    for row in 0..batch {
        let start = (row * pos + position) * d_vocab;
        gradient[start + token] += 1.0;
        gradient[start + minus] -= 1.0;
    }
    Ok(Tensor::from_vec(gradient, logits.dims(), &Device::Cpu)?)
}

/// A function of which only the gradient is known.
struct Seed {
    gradient: Tensor,
}

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "objective"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let value = match logits {
            CpuStorage::F64(_) => CpuStorage::F64(vec![0.0]),
            _ => CpuStorage::F32(vec![0.0]),
        };
        Ok((value, Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.gradient.clone()))
    }
}
