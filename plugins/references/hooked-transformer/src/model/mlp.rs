//! The feed-forward body.

use candle_core::Tensor;
use tlbench_sdk::spec::{Activation, DenseMlp};

use super::activation::activate;
use crate::error::Result;
use crate::parameters::Parameters;
use crate::run::Run;

/// `activation(x W_in + b_in) W_out + b_out`.
pub(crate) struct Mlp {
    name: String,
    w_in: Tensor,
    b_in: Option<Tensor>,
    w_out: Tensor,
    b_out: Option<Tensor>,
    activation: Activation,
}

impl Mlp {
    pub(crate) fn new(name: String, spec: &DenseMlp, weights: &Parameters) -> Result<Self> {
        Ok(Self {
            w_in: weights.get(&format!("{name}.W_in"))?.clone(),
            b_in: weights.find(&format!("{name}.b_in")).cloned(),
            w_out: weights.get(&format!("{name}.W_out"))?.clone(),
            b_out: weights.find(&format!("{name}.b_out")).cloned(),
            activation: spec.activation,
            name,
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let pre = with_bias(run.order.linear(x, &self.w_in)?, self.b_in.as_ref())?;
        let pre = run.hook(&format!("{}.hook_pre", self.name), pre)?;
        let post = activate(&pre, self.activation)?;
        let post = run.hook(&format!("{}.hook_post", self.name), post)?;
        with_bias(run.order.linear(&post, &self.w_out)?, self.b_out.as_ref())
    }
}

/// `x + b`, where there is one.
pub(super) fn with_bias(x: Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    Ok(match b {
        Some(b) => x.broadcast_add(b)?,
        None => x,
    })
}
