//! A spec with its weights: components in the order in which they run.

use tlbench_sdk::spec::Mask;
use tlbench_sdk::{HookPoint, ModelSpec, hooks};

use crate::components::{Block, Embedding, Logits, Norm, Run, Unembed};
use crate::error::EngineError;
use crate::precision::Precision;
use crate::weights::{Loader, Parameters};

/// Components that are ready to run.
pub(crate) struct Model {
    pub(crate) precision: Precision,
    pub(crate) hooks: Vec<HookPoint>,
    pub(crate) n_ctx: Option<usize>,
    pub(crate) d_vocab_out: usize,
    /// Whether some query sees keys that come after it, so that a run cannot be cut into pieces.
    pub(crate) sees_ahead: bool,
    embedding: Embedding,
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
    unembed: Unembed,
}

impl Model {
    /// Cuts what each component of `spec` takes out of `parameters`.
    pub(crate) fn assemble(
        spec: &ModelSpec,
        parameters: &Parameters,
        precision: Precision,
    ) -> Result<Self, EngineError> {
        let loader = &Loader::new(parameters);
        let d_model = spec.d_model;
        let blocks = spec
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| Block::load(loader, index, layer, d_model))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            precision,
            hooks: hooks(spec),
            n_ctx: spec.n_ctx,
            d_vocab_out: spec.unembed.d_vocab_out,
            sees_ahead: spec
                .layers
                .iter()
                .filter_map(|layer| layer.attn.as_ref())
                .any(|attn| sees_ahead(attn.body.mask)),
            embedding: Embedding::load(loader, &spec.embedding, spec.d_vocab, d_model)?,
            blocks,
            final_norm: match &spec.final_norm {
                Some(norm) => Some(Norm::load(loader, "ln_final", norm, d_model)?),
                None => None,
            },
            unembed: Unembed::load(loader, &spec.unembed, d_model)?,
        })
    }

    /// From the run's tokens to logits.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Logits, EngineError> {
        let mut stream = self.embedding.forward(run)?;
        for block in &self.blocks {
            stream = block.forward(run, stream)?;
        }
        if let Some(norm) = &self.final_norm {
            stream = norm.forward(run, &stream)?;
        }
        self.unembed.forward(run, stream)
    }
}

fn sees_ahead(mask: Mask) -> bool {
    match mask {
        Mask::Band { ahead, .. } => ahead != Some(0),
        Mask::Chunked { .. } => false,
    }
}
