//! A mixture of experts ([Shazeer et al. 2017](https://arxiv.org/abs/1701.06538)).

use candle_core::{D, Tensor};
use tlbench_sdk::spec::MoeSpec;

use super::mlp::Network;
use super::router::Router;
use crate::error::Result;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// Networks of which a router picks some for each token. Every expert runs on every token, and counts where it was picked.
pub(crate) struct Moe {
    router: Router,
    experts: Vec<Network>,
    routed_scale: f64,
    shared: Option<Network>,
}

impl Moe {
    pub(super) fn new(name: &str, spec: &MoeSpec, weights: &RunWeights) -> Result<Self> {
        let experts = spec.experts.iter().enumerate();
        let experts = experts.map(|(index, expert)| {
            Network::expert(&format!("{name}.experts.{index}"), expert, weights)
        });
        let shared = spec.shared.as_ref();
        let shared =
            shared.map(|shared| Network::dense(&format!("{name}.shared"), shared, weights));
        Ok(Self {
            router: Router::new(name, spec, weights)?,
            experts: experts.collect::<Result<_>>()?,
            routed_scale: spec.routed_scale,
            shared: shared.transpose()?,
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(super) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let routing = self.router.forward(run, x)?;
        let mut parts = Vec::with_capacity(self.experts.len());
        for (index, expert) in self.experts.iter().enumerate() {
            let of_expert = |all: &Tensor| all.narrow(D::Minus1, index, 1)?.contiguous();
            let routed = of_expert(&routing.routed)?;
            let out = expert.forward_where(run, x, Some(&routed))?;
            parts.push(out.broadcast_mul(&of_expert(&routing.weights)?)?);
        }
        let sum = (run.order.sum(&parts)? * self.routed_scale)?;
        Ok(match &self.shared {
            Some(shared) => (sum + shared.forward(run, x)?)?,
            None => sum,
        })
    }
}
