//! A mixture of experts, with its hooks.

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::MoeSpec;

use super::Run;
use super::network::{HiddenHooks, Network};
use super::router::{Router, Routing};
use crate::error::EngineError;
use crate::weights::Loader;

/// Experts, of which a router picks some for each token, and perhaps one network for all tokens.
pub(crate) struct Moe {
    router: Router,
    experts: Vec<Network>,
    shared: Option<Network>,
}

impl Moe {
    pub(super) fn load(
        loader: &Loader<'_>,
        name: &str,
        spec: &MoeSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let experts = spec.experts.iter().enumerate().map(|(index, expert)| {
            let name = format!("{name}.experts.{index}");
            let hooks = HiddenHooks::of_expert(&name);
            Network::load(loader, &name, expert, d_model, hooks)
        });
        Ok(Self {
            router: Router::load(loader, name, spec, d_model)?,
            experts: experts.collect::<Result<_, _>>()?,
            shared: match &spec.shared {
                Some(shared) => {
                    let name = format!("{name}.shared");
                    let hooks = HiddenHooks::of_dense(&name, shared);
                    Some(Network::load(loader, &name, shared, d_model, hooks)?)
                }
                None => None,
            },
        })
    }

    /// `[batch, pos, d_model]` to the same shape.
    pub(super) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor, EngineError> {
        let (batch, pos, d_model) = x.dims3()?;
        let routing = self.router.route(run, x)?;
        let rows = x.reshape((batch * pos, d_model))?;
        let mut sum = rows.detach().zeros_like()?;
        for (index, expert) in self.experts.iter().enumerate() {
            if let Some(served) = Served::by(run, expert, &routing, index, [batch, pos])? {
                let added = served.output(run, expert, &rows)?;
                sum = run
                    .precision
                    .store(sum.index_add(&served.tokens, &added, 0)?)?;
            }
        }
        let sum = sum.reshape((batch, pos, d_model))?;
        match &self.shared {
            Some(shared) => {
                let all = shared.forward(run, x, Run::hook)?;
                Ok((sum + run.precision.store(all)?)?)
            }
            None => Ok(sum),
        }
    }
}

/// The tokens that one expert serves.
struct Served {
    /// `[served]`, each once.
    tokens: Tensor,
    /// `[served, 1]`: the factor on what the expert gives.
    weights: Tensor,
    /// Nobody chose the expert. The first token stands in, with weight 0, so that hooks fire and gradients are 0.
    is_idle: bool,
    batch_and_pos: [usize; 2],
}

impl Served {
    /// `None`: nobody chose the expert, and nobody watches it.
    fn by(
        run: &Run<'_, '_>,
        expert: &Network,
        routing: &Routing,
        index: usize,
        batch_and_pos: [usize; 2],
    ) -> Result<Option<Self>, EngineError> {
        let is_idle = routing.tokens[index].is_empty();
        let mut names = expert.hooks().names().into_iter();
        if is_idle && run.tape.is_none() && !names.any(|name| run.probe.looks_at(name)) {
            return Ok(None);
        }
        let tokens = match is_idle {
            true => &[0],
            false => routing.tokens[index].as_slice(),
        };
        let tokens = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let weights = routing.weights.narrow(1, index, 1)?.contiguous()?;
        Ok(Some(Self {
            weights: weights.index_select(&tokens, 0)?,
            tokens,
            is_idle,
            batch_and_pos,
        }))
    }

    /// `[served, d_model]`: what the expert adds, of all tokens `[tokens, d_model]`.
    fn output(
        &self,
        run: &mut Run<'_, '_>,
        expert: &Network,
        rows: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let input = rows.index_select(&self.tokens, 0)?;
        let output = expert.forward(run, &input, |run, name, rows| self.show(run, name, rows))?;
        let output = run.precision.store(output)?;
        Ok(run.precision.store(output.broadcast_mul(&self.weights)?)?)
    }

    /// Takes `rows [served, d_mlp]` to a hook, where they lie among those of all tokens: 0 is where the expert does
    /// not serve, and an edit there is without effect.
    fn show(&self, run: &mut Run<'_, '_>, name: &str, rows: Tensor) -> Result<Tensor, EngineError> {
        let rows = match self.is_idle {
            true => (&rows * rows.detach().zeros_like()?)?,
            false => rows,
        };
        if !run.probe.looks_at(name) {
            return Ok(run.precision.store(rows)?);
        }
        let ([batch, pos], width) = (self.batch_and_pos, rows.dim(1)?);
        let among_all = Tensor::zeros((batch * pos, width), rows.dtype(), &Device::Cpu)?
            .index_add(&self.tokens, &rows, 0)?
            .reshape((batch, pos, width))?;
        let shown = run.hook(name, among_all)?;
        let shown = shown.reshape((batch * pos, width))?;
        Ok(shown.index_select(&self.tokens, 0)?)
    }
}
