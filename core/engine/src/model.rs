//! A spec with its weights: components in the order in which they run.

use tlbench_sdk::{HookPoint, hooks};

use crate::canonical_weights::CanonicalWeights;
use crate::components::{Block, Embedding, Logits, Norm, Run, Unembed};
use crate::error::EngineError;
use crate::precision::Precision;
use crate::weights::Loader;

/// Components that are ready to run.
pub(crate) struct Model {
    pub(crate) weights: CanonicalWeights,
    pub(crate) precision: Precision,
    pub(crate) hooks: Vec<HookPoint>,
    embedding: Embedding,
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
    unembed: Unembed,
}

impl Model {
    /// Cuts what each component takes out of `weights`.
    pub(crate) fn assemble(weights: CanonicalWeights) -> Result<Self, EngineError> {
        let spec = &weights.spec;
        let loader = &Loader::new(&weights.parameters);
        let d_model = spec.d_model;
        let blocks = spec
            .layers
            .iter()
            .enumerate()
            .map(|(index, layer)| Block::load(loader, index, layer, d_model))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            precision: weights.precision,
            hooks: hooks(spec),
            embedding: Embedding::load(loader, &spec.embedding, spec.d_vocab, d_model)?,
            blocks,
            final_norm: match &spec.final_norm {
                Some(norm) => Some(Norm::load(loader, "ln_final", norm, d_model)?),
                None => None,
            },
            unembed: Unembed::load(loader, &spec.unembed, d_model)?,
            weights,
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
