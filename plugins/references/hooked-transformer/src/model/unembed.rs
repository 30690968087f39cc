//! From the residual stream to logits.

use candle_core::Tensor;
use tlbench_sdk::spec::UnembedSpec;

use super::mlp::Linear;
use super::softcap::softcap;
use crate::error::Result;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// `softcap(scale (x W_U + b_U))`, with the parts that there are.
pub(crate) struct Unembed {
    head: Linear,
    scale: f64,
    cap: Option<f64>,
}

/// `[batch, pos, d_vocab_out]`: as they were computed, and as what follows takes them.
pub(crate) struct Logits {
    /// Before anything at `unembed.hook_out` changed them.
    pub(crate) computed: Tensor,
    /// After.
    pub(crate) edited: Tensor,
}

impl Unembed {
    pub(crate) fn new(spec: &UnembedSpec, weights: &RunWeights) -> Result<Self> {
        Ok(Self {
            head: Linear::new("unembed", "U", weights)?,
            scale: spec.logit_scale,
            cap: spec.softcap,
        })
    }

    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: Tensor) -> Result<Logits> {
        let x = run.hook("unembed.hook_in", x)?;
        let logits = self.head.forward(run, &x)?;
        let logits = match self.scale {
            1.0 => logits,
            scale => (logits * scale)?,
        };
        let computed = softcap(logits, self.cap)?;
        let edited = run.hook("unembed.hook_out", computed.clone())?;
        Ok(Logits { computed, edited })
    }
}
