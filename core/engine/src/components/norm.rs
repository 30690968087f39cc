//! Norms, with their two hooks.

use candle_core::Tensor;
use tlbench_sdk::spec::{NormKind, NormSpec};

use super::Run;
use crate::error::EngineError;
use crate::ops;
use crate::precision::Precision;
use crate::weights::Loader;

/// A norm of the stream.
pub(crate) struct Norm {
    name: String,
    kind: NormKind,
    eps: f64,
    gain: Option<Tensor>,
    bias: Option<Tensor>,
}

impl Norm {
    pub(crate) fn load(
        loader: &Loader<'_>,
        name: &str,
        spec: &NormSpec,
        width: usize,
    ) -> Result<Self, EngineError> {
        let part = |role: &str, source: &Option<_>| match source {
            Some(source) => loader
                .part(&format!("{name}.{role}"), source, &[width])
                .map(Some),
            None => Ok(None),
        };
        let gain = match part("weight", &spec.gain)? {
            Some(gain) if spec.gain_offset != 0.0 => Some((gain + spec.gain_offset)?),
            gain => gain,
        };
        let bias = part("bias", &spec.bias)?;
        Ok(Self {
            name: name.to_owned(),
            kind: spec.kind,
            eps: spec.eps,
            gain,
            bias,
        })
    }

    /// `[.., width]` to the same shape. All of it is one operation in torch, so scale and normalized value are not
    /// stored.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor, EngineError> {
        let scale = ops::norm_scale(x, self.kind, self.eps)?;
        let scale = run
            .probe
            .hook(&format!("{}.hook_scale", self.name), scale)?;
        let normalized = ops::normalize(x, &scale, self.kind)?;
        let normalized = run
            .probe
            .hook(&format!("{}.hook_normalized", self.name), normalized)?;
        self.finish(run.precision, normalized)
    }

    /// The same without hooks, for the copies per head of a split input.
    pub(crate) fn forward_unhooked(
        &self,
        precision: Precision,
        x: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let scale = ops::norm_scale(x, self.kind, self.eps)?;
        self.finish(precision, ops::normalize(x, &scale, self.kind)?)
    }

    /// Whether somebody edits one of the hooks.
    pub(crate) fn is_changed(&self, run: &Run<'_, '_>) -> bool {
        ["hook_scale", "hook_normalized"]
            .iter()
            .any(|hook| run.probe.changes(&format!("{}.{hook}", self.name)))
    }

    fn finish(&self, precision: Precision, normalized: Tensor) -> Result<Tensor, EngineError> {
        let output = match (&self.gain, &self.bias) {
            (Some(gain), bias) => ops::scale_and_shift(&normalized, gain, bias.as_ref())?,
            (None, Some(bias)) => normalized.broadcast_add(bias)?,
            (None, None) => normalized,
        };
        Ok(precision.store(output)?)
    }
}
