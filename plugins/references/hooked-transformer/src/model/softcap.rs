//! A smooth bound.

use candle_core::Tensor;

use crate::error::Result;

/// `cap tanh(x / cap)`, where there is a cap ([Gemma 2](https://arxiv.org/abs/2408.00118), section 2).
pub(crate) fn softcap(x: Tensor, cap: Option<f64>) -> Result<Tensor> {
    Ok(match cap {
        Some(cap) => ((x / cap)?.tanh()? * cap)?,
        None => x,
    })
}
