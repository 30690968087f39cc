//! From tokens and positions to the residual stream.

use candle_core::Tensor;
use tlbench_sdk::spec::EmbeddingSpec;
use tlbench_sdk::{INPUT_IDS, POSITION_IDS};

use super::norm::Norm;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// `norm(scale W_E[token])`, with the parts that there are.
pub(crate) struct Embed {
    w_e: Matrix,
    scale: Option<f64>,
    norm: Option<Norm>,
}

impl Embed {
    pub(crate) fn new(spec: &EmbeddingSpec, weights: &RunWeights) -> Result<Self> {
        Ok(Self {
            w_e: weights.matrix("embed.W_E")?,
            scale: spec.scale.as_ref().map(|scale| scale.value),
            norm: match &spec.norm {
                Some(norm) => Some(Norm::new("embed.ln", norm, weights)?),
                None => None,
            },
        })
    }

    /// `[batch, pos, d_model]`.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Tensor> {
        let mut rows = run.look_up(&self.w_e, INPUT_IDS, &run.inputs.tokens)?;
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
    w_pos: Matrix,
}

impl PosEmbed {
    pub(crate) fn new(weights: &RunWeights) -> Result<Self> {
        let w_pos = weights.matrix("pos_embed.W_pos")?;
        Ok(Self { w_pos })
    }

    /// `[batch, pos, d_model]`.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Tensor> {
        let rows = run.look_up(&self.w_pos, POSITION_IDS, &run.inputs.positions)?;
        run.hook("hook_pos_embed", rows)
    }
}
