//! Feed-forward bodies, with their hooks.

use candle_core::Tensor;
use tlbench_sdk::spec::{Activation, DenseMlp, MlpSpec};

use super::{Linear, Run};
use crate::error::EngineError;
use crate::ops;
use crate::weights::Loader;

/// `W_out act(W_in x)`.
pub(crate) struct Mlp {
    name: String,
    input: Linear,
    output: Linear,
    activation: Activation,
}

impl Mlp {
    pub(crate) fn load(
        loader: &Loader<'_>,
        name: &str,
        spec: &MlpSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        match spec {
            MlpSpec::Dense(dense) => Self::load_dense(loader, name, dense, d_model),
            MlpSpec::Moe(_) => Err(EngineError::not_implemented(name, "a mixture of experts")),
        }
    }

    fn load_dense(
        loader: &Loader<'_>,
        name: &str,
        spec: &DenseMlp,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        if spec.gate.is_some() {
            return Err(EngineError::not_implemented(name, "a gated MLP"));
        }
        if let Activation::ClampedSwiglu { .. } = spec.activation {
            return Err(EngineError::not_implemented(name, "a gated activation"));
        }
        Ok(Self {
            name: name.to_owned(),
            input: loader.linear(&format!("{name}.in"), &spec.input, spec.d_mlp, d_model)?,
            output: loader.linear(&format!("{name}.out"), &spec.output, d_model, spec.d_mlp)?,
            activation: spec.activation,
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor, EngineError> {
        let pre = self.input.forward(run, x)?;
        let pre = run.hook(&format!("{}.hook_pre", self.name), pre)?;
        let post = ops::activate(&pre, self.activation)?;
        let post = run.hook(&format!("{}.hook_post", self.name), post)?;
        Ok(self.output.forward(run, &post)?)
    }
}
