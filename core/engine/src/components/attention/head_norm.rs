//! Norms of queries and keys.

use candle_core::Tensor;
use tlbench_sdk::spec::{AttentionSpec, Extent, HeadNorm as HeadNormSpec, HeadNorms, NormOrder};

use crate::components::{Norm, Run};
use crate::error::EngineError;
use crate::weights::Loader;

/// Whether it is about queries or keys.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Query,
    Key,
}

/// The norms of queries and keys.
pub(super) struct QkNorm {
    q: HeadNorm,
    k: HeadNorm,
    pub(super) order: NormOrder,
}

struct HeadNorm {
    norm: Norm,
    extent: Extent,
}

impl QkNorm {
    pub(super) fn load(
        loader: &Loader<'_>,
        name: &str,
        attention: &AttentionSpec,
        HeadNorms { q, k, order }: &HeadNorms,
    ) -> Result<Self, EngineError> {
        let load = |letter: &str, norm, heads| {
            HeadNorm::load(
                loader,
                &format!("{name}.{letter}_norm"),
                norm,
                [heads, attention.d_head],
            )
        };
        Ok(Self {
            q: load("q", q, attention.n_heads)?,
            k: load("k", k, attention.n_kv_heads)?,
            order: *order,
        })
    }

    /// Queries or keys `[batch, pos, heads, d_head]` to the same shape.
    pub(super) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        x: &Tensor,
        side: Side,
    ) -> Result<Tensor, EngineError> {
        match side {
            Side::Query => self.q.forward(run, x),
            Side::Key => self.k.forward(run, x),
        }
    }
}

impl HeadNorm {
    fn load(
        loader: &Loader<'_>,
        name: &str,
        spec: &HeadNormSpec,
        [heads, d_head]: [usize; 2],
    ) -> Result<Self, EngineError> {
        let width = match spec.extent {
            Extent::Head => d_head,
            Extent::AllHeads => heads * d_head,
        };
        Ok(Self {
            norm: Norm::load(loader, name, &spec.norm, width)?,
            extent: spec.extent,
        })
    }

    fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor, EngineError> {
        match self.extent {
            Extent::Head => self.norm.forward(run, x),
            Extent::AllHeads => {
                let normed = self.norm.forward(run, &x.flatten_from(2)?)?;
                Ok(normed.reshape(x.shape())?)
            }
        }
    }
}
