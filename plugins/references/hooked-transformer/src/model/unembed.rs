//! From the residual stream to logits.

use candle_core::Tensor;

use super::mlp::with_bias;
use crate::error::Result;
use crate::parameters::Parameters;
use crate::run::Run;

/// `x W_U + b_U`.
pub(crate) struct Unembed {
    w_u: Tensor,
    b_u: Option<Tensor>,
}

/// `[batch, pos, d_vocab_out]`: as they were computed, and as what follows takes them.
pub(crate) struct Logits {
    /// Before anything at `unembed.hook_out` changed them.
    pub(crate) computed: Tensor,
    /// After.
    pub(crate) edited: Tensor,
}

impl Unembed {
    pub(crate) fn new(weights: &Parameters) -> Result<Self> {
        Ok(Self {
            w_u: weights.get("unembed.W_U")?.clone(),
            b_u: weights.find("unembed.b_U").cloned(),
        })
    }

    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: Tensor) -> Result<Logits> {
        let x = run.hook("unembed.hook_in", x)?;
        let computed = with_bias(run.order.linear(&x, &self.w_u)?, self.b_u.as_ref())?;
        let edited = run.hook("unembed.hook_out", computed.clone())?;
        Ok(Logits { computed, edited })
    }
}
