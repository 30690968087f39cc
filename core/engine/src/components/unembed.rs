//! From the stream to logits.

use candle_core::Tensor;
use tlbench_sdk::spec::UnembedSpec;

use super::{Linear, Run};
use crate::error::EngineError;
use crate::ops;
use crate::weights::Loader;

/// The head.
pub(crate) struct Unembed {
    projection: Linear,
    scale: f64,
    softcap: Option<f64>,
}

/// Logits as they were computed, and as the model goes on with them.
pub(crate) struct Logits {
    /// Before anything at `unembed.hook_out` changed them.
    pub(crate) computed: Tensor,
    /// After.
    pub(crate) edited: Tensor,
}

impl Logits {
    /// Without all that they were computed from.
    pub(crate) fn detached(&self) -> Self {
        Self {
            computed: self.computed.detach(),
            edited: self.edited.detach(),
        }
    }
}

impl Unembed {
    pub(crate) fn load(
        loader: &Loader<'_>,
        spec: &UnembedSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            projection: loader.linear("unembed", &spec.projection, spec.d_vocab_out, d_model)?,
            scale: spec.logit_scale,
            softcap: spec.softcap,
        })
    }

    /// `[batch, pos, d_vocab_out]`.
    pub(crate) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        stream: Tensor,
    ) -> Result<Logits, EngineError> {
        let stream = run.hook("unembed.hook_in", stream)?;
        let mut computed = self.projection.forward(run, &stream)?;
        computed = run.precision.store(computed)?;
        if self.scale != 1.0 {
            computed = run.precision.store(computed.affine(self.scale, 0.0)?)?;
        }
        if let Some(cap) = self.softcap {
            computed = run.precision.store(ops::softcap(&computed, cap)?)?;
        }
        let edited = run.hook("unembed.hook_out", computed.clone())?;
        Ok(Logits { computed, edited })
    }
}
