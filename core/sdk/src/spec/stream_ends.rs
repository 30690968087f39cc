//! Token embedding and head, which may be one tensor.

use super::embedding::{EmbeddingSpec, UnembedSpec};
use super::inner_model::{InnerModel, config_keys};
use super::norm::NormSpec;
use super::source::{ProjectionSpec, TensorSource};
use super::tap::HfTap;
use super::{LayerSpec, ModelSpec};

/// The token embedding and the head of a language model, tied or not.
#[derive(Clone, Copy, Debug)]
pub struct StreamEnds<'a> {
    /// The model under the head.
    pub inner: InnerModel,
    /// The embedding's module in it.
    pub embedding: &'a str,
    /// Names of the head's tensor; HF's module of it is `lm_head` whatever the checkpoint says.
    pub head: &'a [&'a str],
    /// Rows of both.
    pub d_vocab: usize,
    /// Width of the stream.
    pub d_model: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// The config keys that both were made from.
    pub config_keys: &'a [&'a str],
}

impl StreamEnds<'static> {
    /// Those of most families.
    pub const fn usual(d_vocab: usize, d_model: usize, tied: bool) -> Self {
        Self {
            inner: InnerModel("model"),
            embedding: "embed_tokens",
            head: &["lm_head.weight"],
            d_vocab,
            d_model,
            tied,
            config_keys: &["vocab_size", "hidden_size", "tie_word_embeddings"],
        }
    }
}

impl StreamEnds<'_> {
    /// The model between both ends, of HF's class `architecture`. `n_ctx` is the context that it was trained on, which
    /// is no bound for positions that stretch with the sequence. Where layers rotate, HF ignores the wavelengths that older
    /// releases saved as buffers of theirs.
    pub fn model(
        &self,
        architecture: &str,
        n_ctx: Option<usize>,
        layers: Vec<LayerSpec>,
        final_norm: NormSpec,
    ) -> ModelSpec {
        let stretches = layers.iter().any(LayerSpec::stretches);
        let ignored: &[&str] = if layers.iter().any(LayerSpec::rotates) {
            &["*.rotary_emb.inv_freq"]
        } else {
            &[]
        };
        ModelSpec {
            architecture: architecture.into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: n_ctx.filter(|_| !stretches),
            embedding: self.embedding(),
            layers,
            final_norm: Some(final_norm),
            unembed: self.unembed(),
            ignored_tensors: config_keys(ignored),
        }
    }

    /// The embedding, without scale, positions or norm.
    pub fn embedding(&self) -> EmbeddingSpec {
        let mut tokens = self.tokens();
        if self.tied {
            // HF ties in both directions.
            tokens
                .names
                .extend(self.head.iter().map(ToString::to_string));
        }
        EmbeddingSpec {
            tokens,
            module: Some(self.inner.module(self.embedding)),
            scale: None,
            positions: None,
            norm: None,
            config_keys: config_keys(self.config_keys),
        }
    }

    /// The head, without bias, scale or softcap.
    pub fn unembed(&self) -> UnembedSpec {
        // Where both are stored, HF keeps a tied head apart if it differs from the embedding.
        let mut weight = TensorSource::new(self.head.iter().copied(), [self.d_vocab, self.d_model]);
        if self.tied {
            weight.names.extend(self.tokens().names);
        }
        UnembedSpec {
            projection: ProjectionSpec {
                weight,
                bias: None,
                tap: Some(HfTap::output("lm_head")),
            },
            d_vocab_out: self.d_vocab,
            logit_scale: 1.0,
            softcap: None,
            config_keys: config_keys(self.config_keys),
        }
    }

    fn tokens(&self) -> TensorSource {
        let path = format!("{}.weight", self.embedding);
        self.inner.tensor(&path, [self.d_vocab, self.d_model])
    }
}
