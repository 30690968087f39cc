//! A feed-forward network: the body of a dense MLP, or one expert.

use candle_core::Tensor;
use tlbench_sdk::spec::{Activation, DenseMlp};

use super::{Linear, Run};
use crate::error::EngineError;
use crate::ops;
use crate::weights::Loader;

/// `W_out act(W_in x)`, or gated: `W_out (act(W_gate x) * W_in x)`.
pub(crate) struct Network {
    hooks: HiddenHooks,
    input: Linear,
    gate: Option<Linear>,
    output: Linear,
    activation: Activation,
}

/// The names of the hooks of the hidden layer.
pub(super) struct HiddenHooks {
    /// What goes through the activation of a gated network.
    pub(super) gate: String,
    /// `W_in x`.
    pub(super) input: String,
    /// What `W_out` reads.
    pub(super) post: String,
}

impl HiddenHooks {
    /// HookedTransformer calls `hook_pre` what goes through the activation, be it gate or input.
    pub(super) fn of_dense(name: &str, spec: &DenseMlp) -> Self {
        let input = match spec.gate {
            Some(_) => "hook_pre_linear",
            None => "hook_pre",
        };
        Self::named(name, ["hook_pre", input])
    }

    pub(super) fn of_expert(name: &str) -> Self {
        Self::named(name, ["hook_gate", "hook_pre"])
    }

    fn named(name: &str, [gate, input]: [&str; 2]) -> Self {
        Self {
            gate: format!("{name}.{gate}"),
            input: format!("{name}.{input}"),
            post: format!("{name}.hook_post"),
        }
    }

    pub(super) fn names(&self) -> [&str; 3] {
        [&self.gate, &self.input, &self.post]
    }
}

impl Network {
    pub(super) fn load(
        loader: &Loader<'_>,
        name: &str,
        spec: &DenseMlp,
        d_model: usize,
        hooks: HiddenHooks,
    ) -> Result<Self, EngineError> {
        let (activation, width) = (spec.activation, spec.d_mlp);
        if let (Activation::ClampedSwiglu { .. }, None) = (activation, &spec.gate) {
            return Err(EngineError::request(
                format!("{name}.activation"),
                "one of a single value, as there is no gate",
                "clamped_swiglu",
            ));
        }
        let part = |part: &str| format!("{name}.{part}");
        Ok(Self {
            hooks,
            input: loader.linear(&part("in"), &spec.input, width, d_model)?,
            gate: match &spec.gate {
                Some(gate) => Some(loader.linear(&part("gate"), gate, width, d_model)?),
                None => None,
            },
            output: loader.linear(&part("out"), &spec.output, d_model, width)?,
            activation,
        })
    }

    pub(super) fn hooks(&self) -> &HiddenHooks {
        &self.hooks
    }

    /// `[.., d_model]` to the same shape; `show` takes each hidden value to its hook.
    pub(super) fn forward<'a, 'r>(
        &self,
        run: &mut Run<'a, 'r>,
        x: &Tensor,
        show: impl Fn(&mut Run<'a, 'r>, &str, Tensor) -> Result<Tensor, EngineError>,
    ) -> Result<Tensor, EngineError> {
        let gate = match &self.gate {
            Some(gate) => {
                let gate = gate.forward(run, x)?;
                Some(show(run, &self.hooks.gate, gate)?)
            }
            None => None,
        };
        let input = self.input.forward(run, x)?;
        let input = show(run, &self.hooks.input, input)?;
        let post = match gate {
            Some(gate) => self.gated(run, &gate, &input)?,
            None => ops::activate(&input, self.activation)?,
        };
        let post = show(run, &self.hooks.post, post)?;
        Ok(self.output.forward(run, &post)?)
    }

    fn gated(
        &self,
        run: &Run<'_, '_>,
        gate: &Tensor,
        input: &Tensor,
    ) -> Result<Tensor, EngineError> {
        if let Activation::ClampedSwiglu { alpha, limit } = self.activation {
            return Ok(ops::clamped_swiglu(gate, input, alpha, limit)?);
        }
        let active = run.precision.store(ops::activate(gate, self.activation)?)?;
        Ok((active * input)?)
    }
}
