//! A spec with its weights: components in the order in which they run.

use std::collections::BTreeMap;

use candle_core::Tensor;
use tlbench_sdk::spec::{Cut, Mask};
use tlbench_sdk::{HookPoint, ModelSpec, hooks};

use crate::canonical_weights::CanonicalWeights;
use crate::components::{Block, Embedding, Logits, Norm, Run, Unembed};
use crate::error::EngineError;
use crate::precision::Precision;
use crate::weights::{Loader, Parameters};

/// Components that are ready to run.
pub(crate) struct Model {
    pub(crate) weights: CanonicalWeights,
    pub(crate) precision: Precision,
    pub(crate) hooks: Vec<HookPoint>,
    /// The stored name of each parameter, by every name that it may be asked for.
    pub(crate) parameters: BTreeMap<String, String>,
    /// How each weight that is stored under its canonical name is cut, as a step of processing may leave it as it was.
    pub(crate) cuts: BTreeMap<String, Vec<Cut>>,
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
            parameters: stored_names(spec, &weights.parameters),
            cuts: canonical_cuts(spec),
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
            weights,
        })
    }

    /// From the run's tokens to logits.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>) -> Result<Logits, EngineError> {
        let mut stream = self.stream_before(self.blocks.len(), run)?;
        if let Some(norm) = &self.final_norm {
            stream = norm.forward(run, &stream)?;
        }
        self.unembed.forward(run, stream)
    }

    /// From the run's tokens to what block `layer` reads, or, for as many layers as there are, what the last one leaves.
    pub(crate) fn stream_before(
        &self,
        layer: usize,
        run: &mut Run<'_, '_>,
    ) -> Result<Tensor, EngineError> {
        let mut stream = self.embedding.forward(run)?;
        for block in self.blocks.iter().take(layer) {
            stream = block.forward(run, stream)?;
        }
        Ok(stream)
    }
}

fn stored_names(spec: &ModelSpec, parameters: &Parameters) -> BTreeMap<String, String> {
    let mut stored_names = BTreeMap::new();
    for (_, source) in spec.sources() {
        if let Some(stored) = parameters.stored(source) {
            for name in &source.names {
                stored_names.insert(name.clone(), stored.to_owned());
            }
        }
    }
    // A name that something is stored under means that, whatever else it could stand for.
    let stored: Vec<String> = stored_names.values().cloned().collect();
    stored_names.extend(stored.into_iter().map(|name| (name.clone(), name)));
    stored_names
}

fn canonical_cuts(spec: &ModelSpec) -> BTreeMap<String, Vec<Cut>> {
    let weights = spec.weights().into_iter();
    let stored_so = weights.filter(|weight| weight.source.names.contains(&weight.name));
    stored_so
        .map(|weight| (weight.name, weight.source.cut))
        .collect()
}

fn sees_ahead(mask: Mask) -> bool {
    match mask {
        Mask::Band { ahead, .. } => ahead != Some(0),
        Mask::Chunked { .. } => false,
    }
}
