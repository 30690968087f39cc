//! From tokens and positions to the residual stream.

use candle_core::Tensor;
use tlbench_sdk::{INPUT_IDS, POSITION_IDS};

use crate::error::Result;
use crate::inputs::look_up;
use crate::parameters::Parameters;
use crate::run::Run;

/// `W_E[token]`.
pub(crate) struct Embed {
    w_e: Tensor,
}

impl Embed {
    pub(crate) fn new(weights: &Parameters) -> Result<Self> {
        let w_e = weights.get("embed.W_E")?.clone();
        Ok(Self { w_e })
    }

    /// `[batch, pos, d_model]`.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Tensor> {
        let rows = look_up(&self.w_e, INPUT_IDS, &run.inputs.tokens, &run.piece)?;
        let rows = run.leaf(rows)?;
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
