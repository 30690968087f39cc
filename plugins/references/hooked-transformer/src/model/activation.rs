//! Element-wise non-linearities.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use candle_core::Tensor;
use tlbench_sdk::spec::Activation;

use crate::error::{Error, Result};

/// `activation(x)`, from operations whose derivatives candle has exactly: those of its own `gelu` and `gelu_erf` are
/// rounded to six digits.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        // x / 2 (1 + erf(x / sqrt 2))
        Activation::Gelu => ((x * 0.5)? * ((x * FRAC_1_SQRT_2)?.erf()? + 1.0)?)?,
        // x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
        Activation::GeluTanh => {
            let cube = (x.sqr()? * x)?;
            let inner = ((x + (cube * 0.044715)?)? * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2))?;
            ((x * 0.5)? * (inner.tanh()? + 1.0)?)?
        }
        Activation::QuickGelu => (x * sigmoid(&(x * 1.702)?)?)?,
        Activation::Silu => (x * sigmoid(x)?)?,
        Activation::Relu => relu(x)?,
        Activation::ReluSquared => relu(x)?.sqr()?,
        Activation::ClampedSwiglu { .. } => {
            return Err(Error::Unanswerable(
                "a gated activation of one value".into(),
            ));
        }
    })
}

/// What `gate` lets through of `x`.
pub(crate) fn activate_gated(gate: &Tensor, x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        // (x + 1) gate sigmoid(alpha gate), with both bounded first
        Activation::ClampedSwiglu { alpha, limit } => {
            let gate = clamped(gate, f64::NEG_INFINITY, limit)?;
            let x = clamped(x, -limit, limit)?;
            let passed = (&gate * sigmoid(&(&gate * alpha)?)?)?;
            Ok(((x + 1.0)? * passed)?)
        }
        plain => Ok((activate(gate, plain)? * x)?),
    }
}

pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok((x.neg()?.exp()? + 1.0)?.recip()?)
}

/// `x` within `[low, high]`. The derivative at either end is 1, as in torch.
pub(crate) fn clamped(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    let fixed = x.detach();
    let bounded = fixed.clamp(low, high)?;
    Ok(fixed.eq(&bounded)?.where_cond(x, &bounded)?)
}

/// Its derivative at 0 is 0, as in torch; that of candle's own is 1.
fn relu(x: &Tensor) -> Result<Tensor> {
    let positive = x.detach().gt(0.0)?;
    Ok(positive.where_cond(x, &x.zeros_like()?)?)
}
