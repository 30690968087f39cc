//! From tokens and positions to the residual stream.

use candle_core::Tensor;
use tlbench_sdk::spec::EmbeddingSpec;
use tlbench_sdk::{INPUT_IDS, POSITION_IDS};

use super::norm::Norm;
use crate::error::Result;
use crate::inputs::look_up;
use crate::parameters::Parameters;
use crate::run::Run;

/// `norm(scale W_E[token])`, with the parts that there are.
pub(crate) struct Embed {
    w_e: Tensor,
    scale: Option<f64>,
    norm: Option<Norm>,
}

impl Embed {
    pub(crate) fn new(spec: &EmbeddingSpec, weights: &Parameters) -> Result<Self> {
        Ok(Self {
            w_e: weights.get("embed.W_E")?.clone(),
            scale: spec.scale.as_ref().map(|scale| scale.value),
            norm: spec
                .norm
                .as_ref()
                .map(|norm| Norm::new("embed.ln", norm, weights)),
        })
    }

    /// `[batch, pos, d_model]`.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Tensor> {
        let rows = look_up(&self.w_e, INPUT_IDS, &run.inputs.tokens, &run.piece)?;
        let mut rows = run.leaf(rows)?;
        if let Some(scale) = self.scale {
            // A number is rounded to the precision of the run before it multiplies, whether or not the spec demands it.
            rows = (rows * scale)?;
        }
        if let Some(norm) = &self.norm {
            rows = norm.forward(run, &rows)?;
        }
        run.hook("hook_embed", rows)
    }
}

/// `W_pos[position]`.
pub(crate) struct PosEmbed {
    w_pos: Tensor,
}

impl PosEmbed {
    pub(crate) fn new(weights: &Parameters) -> Result<Self> {
        let w_pos = weights.get("pos_embed.W_pos")?.clone();
        Ok(Self { w_pos })
    }

    /// `[batch, pos, d_model]`.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Tensor> {
        let rows = look_up(&self.w_pos, POSITION_IDS, &run.inputs.positions, &run.piece)?;
        let rows = run.leaf(rows)?;
        run.hook("hook_pos_embed", rows)
    }
}
