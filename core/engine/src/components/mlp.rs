//! Feed-forward bodies, with their hooks.

use candle_core::Tensor;
use tlbench_sdk::spec::MlpSpec;

use super::Run;
use super::moe::Moe;
use super::network::{HiddenHooks, Network};
use crate::error::EngineError;
use crate::weights::Loader;

/// A feed-forward body.
pub(crate) enum Mlp {
    /// One network for every token.
    Dense(Network),
    /// A router picks some of many networks for each token.
    Moe(Moe),
}

impl Mlp {
    pub(crate) fn load(
        loader: &Loader<'_>,
        name: &str,
        spec: &MlpSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        Ok(match spec {
            MlpSpec::Dense(dense) => {
                let hooks = HiddenHooks::of_dense(name, dense);
                Self::Dense(Network::load(loader, name, dense, d_model, hooks)?)
            }
            MlpSpec::Moe(moe) => Self::Moe(Moe::load(loader, name, moe, d_model)?),
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor, EngineError> {
        match self {
            Self::Dense(network) => network.forward(run, x, Run::hook),
            Self::Moe(moe) => moe.forward(run, x),
        }
    }
}
