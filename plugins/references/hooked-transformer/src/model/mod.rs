//! The transformer, component by component, under TransformerLens's names.

mod activation;
mod attention;
mod block;
mod branch;
mod embed;
mod mlp;
mod moe;
mod norm;
mod refusal;
mod router;
mod softcap;
mod softmax;
mod unembed;

use tlbench_sdk::ModelSpec;

#[cfg(test)]
pub(crate) use activation::{activate, activate_gated};
pub(crate) use refusal::refuse_unimplemented;
pub(crate) use unembed::Logits;

use self::block::TransformerBlock;
use self::embed::{Embed, PosEmbed};
use self::norm::Norm;
use self::unembed::Unembed;
use crate::error::Result;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// A decoder-only transformer with its weights.
pub(crate) struct HookedTransformer {
    embed: Embed,
    pos_embed: Option<PosEmbed>,
    blocks: Vec<TransformerBlock>,
    ln_final: Option<Norm>,
    unembed: Unembed,
}

impl HookedTransformer {
    /// The components of `spec`, sharing `weights`.
    pub(crate) fn new(spec: &ModelSpec, weights: &RunWeights) -> Result<Self> {
        let blocks = spec.layers.iter().enumerate();
        let blocks = blocks.map(|(index, layer)| TransformerBlock::new(index, layer, weights));
        Ok(Self {
            embed: Embed::new(&spec.embedding, weights)?,
            pos_embed: match spec.embedding.positions {
                Some(_) => Some(PosEmbed::new(weights)?),
                None => None,
            },
            blocks: blocks.collect::<Result<_>>()?,
            ln_final: match &spec.final_norm {
                Some(norm) => Some(Norm::new("ln_final", norm, weights)?),
                None => None,
            },
            unembed: Unembed::new(&spec.unembed, weights)?,
        })
    }

    /// From the tokens of the run's piece to their logits.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Logits> {
        let mut residual = self.embed.forward(run)?;
        if let Some(pos_embed) = &self.pos_embed {
            residual = (residual + pos_embed.forward(run)?)?;
        }
        for block in &self.blocks {
            residual = block.forward(run, residual)?;
        }
        if let Some(ln_final) = &self.ln_final {
            residual = ln_final.forward(run, &residual)?;
        }
        self.unembed.forward(run, residual)
    }
}
