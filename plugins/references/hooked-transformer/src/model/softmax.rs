//! Softmax, and values that it is not to see.

use candle_core::{D, Tensor};

use crate::error::Result;

/// `scores` with -inf where `visible`, which broadcasts to the same shape, is 0.
pub(crate) fn masked(scores: &Tensor, visible: &Tensor) -> Result<Tensor> {
    let visible = visible.broadcast_as(scores.shape())?;
    let hidden = Tensor::full(f64::NEG_INFINITY, (), scores.device())?;
    let hidden = hidden.to_dtype(scores.dtype())?;
    Ok(visible.where_cond(scores, &hidden.broadcast_as(scores.shape())?)?)
}

/// Over the last dimension. A row that sees nothing is 0.
pub(crate) fn softmax(scores: &Tensor) -> Result<Tensor> {
    // A constant, as a shift of all scores changes nothing.
    let max = scores.detach().max_keepdim(D::Minus1)?;
    let sees_nothing = max.eq(f64::NEG_INFINITY)?;
    let max = sees_nothing.where_cond(&max.zeros_like()?, &max)?;
    let exp = scores.broadcast_sub(&max)?.exp()?;
    let sum = exp.sum_keepdim(D::Minus1)?;
    let sum = sees_nothing.where_cond(&sum.ones_like()?, &sum)?;
    Ok(exp.broadcast_div(&sum)?)
}
