//! From what attention reads to queries, keys or values.

use candle_core::Tensor;
use tlbench_sdk::spec::ProjectionSpec;

use super::AttentionInput;
use crate::components::{Linear, Run};
use crate::error::EngineError;
use crate::weights::Loader;

/// The linear map to queries, keys or values, and its hook.
pub(super) struct Projection {
    hook: String,
    linear: Linear,
    n_heads: usize,
    d_head: usize,
}

/// What one of the three is made from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// `[batch, pos, d_model]`.
    Shared(&'a Tensor),
    /// `[batch, pos, heads, d_model]`.
    PerHead(&'a Tensor),
}

impl AttentionInput {
    /// What queries, keys and values are made from, each.
    pub(super) fn each(&self) -> [Source<'_>; 3] {
        match self {
            Self::Shared(x) => [Source::Shared(x); 3],
            Self::PerHead(inputs) => inputs.each_ref().map(Source::PerHead),
        }
    }
}

impl Projection {
    pub(super) fn load(
        loader: &Loader<'_>,
        name: &str,
        letter: &str,
        spec: &ProjectionSpec,
        [n_heads, d_head, d_model]: [usize; 3],
    ) -> Result<Self, EngineError> {
        Ok(Self {
            hook: format!("{name}.hook_{letter}"),
            linear: loader.linear(&format!("{name}.{letter}"), spec, n_heads * d_head, d_model)?,
            n_heads,
            d_head,
        })
    }

    /// `[batch, pos, heads, d_head]`, as the model goes on with it.
    pub(super) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        source: Source<'_>,
    ) -> Result<Tensor, EngineError> {
        let heads = match source {
            Source::Shared(x) => {
                let (batch, pos, _) = x.dims3()?;
                let all = self.linear.forward(run, x)?;
                all.reshape((batch, pos, self.n_heads, self.d_head))?
            }
            Source::PerHead(x) => self.linear.forward_per_head(run, x)?,
        };
        run.hook(&self.hook, heads)
    }
}
