//! Norms, with their two hooks.

use candle_core::Tensor;
use tlbench_sdk::Deviation;
use tlbench_sdk::spec::{Cut, NormKind, NormSpec};

use super::Run;
use crate::error::EngineError;
use crate::ops;
use crate::weights::{Loader, Part};

/// A norm of the stream.
pub(crate) struct Norm {
    name: String,
    kind: NormKind,
    eps: f64,
    gain: Option<Part>,
    bias: Option<Part>,
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
            Some(gain) if spec.gain_offset != 0.0 => Some(gain.cut(&Cut::Add {
                values: vec![spec.gain_offset],
            })?),
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
        let x = &run.narrowed(Deviation::NormsInBf16, x.clone())?;
        let scale = run.norm_scale(x, self.kind, self.eps)?;
        let scale = run.probe.hook(&self.hook("hook_scale"), scale)?;
        let normalized = ops::normalize(x, &scale, self.kind)?;
        let normalized = run.narrowed(Deviation::NormsInBf16, normalized)?;
        let normalized = run.probe.hook(&self.hook("hook_normalized"), normalized)?;
        self.finish(run, &normalized)
    }

    /// The same for each of `copies [.., heads, width]` of `x [.., width]`, of which each is normed on its own.
    ///
    /// The two hooks show the norm of `x`. An edit there changes every copy by as much as it changes that, and the
    /// gradient is the sum over all of them.
    pub(crate) fn forward_copies<const N: usize>(
        &self,
        run: &mut Run<'_, '_>,
        x: &Tensor,
        copies: &[Tensor; N],
    ) -> Result<[Tensor; N], EngineError> {
        let x = x.detach();
        let scale = run.norm_scale(&x, self.kind, self.eps)?;
        let normalized = ops::normalize(&x, &scale, self.kind)?;
        let scale = run.change_of(&self.hook("hook_scale"), &scale)?;
        let normalized = run.change_of(&self.hook("hook_normalized"), &normalized)?;
        let changed = |value: Tensor, change: &Option<Tensor>| match change {
            Some(change) => value.broadcast_add(&change.unsqueeze(candle_core::D::Minus2)?),
            None => Ok(value),
        };
        let mut outputs = copies.clone();
        for output in &mut outputs {
            let scale = changed(run.norm_scale(output, self.kind, self.eps)?, &scale)?;
            let value = changed(ops::normalize(output, &scale, self.kind)?, &normalized)?;
            *output = self.finish(run, &value)?;
        }
        Ok(outputs)
    }

    /// A gradient of which every copy has a share cannot be edited as one.
    pub(crate) fn refuse_edited_gradients(&self, run: &Run<'_, '_>) -> Result<(), EngineError> {
        let edited = ["hook_scale", "hook_normalized"].map(|hook| self.hook(hook));
        match edited.iter().find(|hook| run.probe.changes_gradient(hook)) {
            Some(hook) => Err(EngineError::Unanswerable(format!(
                "an edit of the gradient at `{hook}` together with inputs per head"
            ))),
            None => Ok(()),
        }
    }

    fn finish(&self, run: &Run<'_, '_>, normalized: &Tensor) -> Result<Tensor, EngineError> {
        let [gain, bias] =
            [&self.gain, &self.bias].map(|part| part.as_ref().map(|part| run.operand(part)));
        let output = ops::scale_and_shift(normalized, gain, bias)?;
        Ok(run.precision.store(output)?)
    }

    fn hook(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}
