//! The feed-forward body: one network for every token, or several of which a router picks some.

use candle_core::Tensor;
use tlbench_sdk::spec::{Activation, DenseMlp, MlpSpec};

use super::activation::{activate, activate_gated};
use super::moe::Moe;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// A feed-forward body.
pub(crate) enum Mlp {
    Dense(Network),
    Moe(Moe),
}

impl Mlp {
    pub(crate) fn new(name: &str, spec: &MlpSpec, weights: &RunWeights) -> Result<Self> {
        Ok(match spec {
            MlpSpec::Dense(dense) => Self::Dense(Network::dense(name, dense, weights)?),
            MlpSpec::Moe(moe) => Self::Moe(Moe::new(name, moe, weights)?),
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(network) => network.forward(run, x),
            Self::Moe(moe) => moe.forward(run, x),
        }
    }
}

/// `activation(x W_in + b_in) W_out + b_out`, or gated
/// ([Shazeer 2020](https://arxiv.org/abs/2002.05202)): `(activation(x W_gate + b_gate) * (x W_in + b_in)) W_out + b_out`.
pub(crate) struct Network {
    input: Linear,
    gate: Option<Linear>,
    output: Linear,
    activation: Activation,
    input_hook: String,
    gate_hook: String,
    post_hook: String,
}

impl Network {
    /// That of all tokens: where there is a gate, `hook_pre` is what goes through the activation.
    pub(super) fn dense(name: &str, spec: &DenseMlp, weights: &RunWeights) -> Result<Self> {
        let input = match spec.gate {
            Some(_) => "hook_pre_linear",
            None => "hook_pre",
        };
        Self::new(name, spec, weights, [input, "hook_pre"])
    }

    /// That of some tokens.
    pub(super) fn expert(name: &str, spec: &DenseMlp, weights: &RunWeights) -> Result<Self> {
        Self::new(name, spec, weights, ["hook_pre", "hook_gate"])
    }

    fn new(
        name: &str,
        spec: &DenseMlp,
        weights: &RunWeights,
        [input_hook, gate_hook]: [&str; 2],
    ) -> Result<Self> {
        let linear = |part: &str| Linear::new(name, part, weights);
        Ok(Self {
            input: linear("in")?,
            gate: spec.gate.as_ref().map(|_| linear("gate")).transpose()?,
            output: linear("out")?,
            activation: spec.activation,
            input_hook: format!("{name}.{input_hook}"),
            gate_hook: format!("{name}.{gate_hook}"),
            post_hook: format!("{name}.hook_post"),
        })
    }

    pub(super) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        self.forward_where(run, x, None)
    }

    /// The same, whose hidden layer is 0 where `routed [batch, pos, 1]` is.
    pub(super) fn forward_where(
        &self,
        run: &mut Run<'_, '_>,
        x: &Tensor,
        routed: Option<&Tensor>,
    ) -> Result<Tensor> {
        let shown = |run: &mut Run<'_, '_>, hook: &str, value: Tensor| {
            let value = match routed {
                Some(routed) => value.broadcast_mul(routed)?,
                None => value,
            };
            run.hook(hook, value)
        };
        let gate = match &self.gate {
            Some(gate) => {
                let gate = gate.forward(run, x)?;
                Some(shown(run, &self.gate_hook, gate)?)
            }
            None => None,
        };
        let input = self.input.forward(run, x)?;
        let input = shown(run, &self.input_hook, input)?;
        let post = match &gate {
            Some(gate) => activate_gated(gate, &input, self.activation)?,
            None => activate(&input, self.activation)?,
        };
        let post = shown(run, &self.post_hook, post)?;
        self.output.forward(run, &post)
    }
}

/// `x W + b`.
pub(crate) struct Linear {
    w: Matrix,
    b: Option<Tensor>,
}

impl Linear {
    /// With the weights `component.W_part` and, if there is one, `component.b_part`.
    pub(super) fn new(component: &str, part: &str, weights: &RunWeights) -> Result<Self> {
        Ok(Self {
            w: weights.matrix(&format!("{component}.W_{part}"))?,
            b: weights.vector(&format!("{component}.b_{part}"))?,
        })
    }

    pub(super) fn forward(&self, run: &Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let product = run.order.linear(x, &self.w)?;
        Ok(match &self.b {
            Some(b) => product.broadcast_add(b)?,
            None => product,
        })
    }
}
