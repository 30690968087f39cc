//! The architecture as data: a typed, serialisable tree of components.
//!
//! A [`ModelSpec`] says, for each component, its hyper-parameters, which checkpoint tensors it takes and how they
//! are cut, and where the same value can be observed in the HuggingFace module tree. It holds no tensor.
//! Layers are fully expanded: what differs from layer to layer is simply written down.

mod attention;
mod canonical;
mod check;
mod conv1d;
mod embedding;
mod experts;
mod fused_heads;
mod heads;
mod inner_model;
mod mlp;
mod norm;
mod position;
mod source;
mod stream_ends;
mod tap;
mod walk;

pub use attention::{AttentionSpec, Extent, HeadNorm, HeadNorms, Mask, NormOrder};
pub use canonical::{AbsentWeight, CanonicalWeight};
pub use check::SpecError;
pub use embedding::{EmbeddingScale, EmbeddingSpec, PositionTable, UnembedSpec};
pub use experts::{ExpertNames, Experts};
pub use fused_heads::FusedHeads;
pub use heads::{AttentionBias, Heads};
pub use inner_model::{InnerModel, MlpNames, config_keys};
pub use mlp::{Activation, DenseMlp, MlpSpec, MoeSpec, Renormalise, RouterScore, ScoreOrder};
pub use norm::{NormKind, NormSpec};
pub use position::{AlibiSpec, Pairing, PositionSpec, RelativeBiasSpec, RotaryScaling, RotarySpec};
pub use source::{Cut, CutError, ProjectionSpec, TensorSource};
pub use stream_ends::StreamEnds;
pub use tap::{AttentionPort, HfTap, Port, TapStep};
pub use walk::Component;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A decoder-only language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The HuggingFace class that defines the mathematics, for reports (`GPT2LMHeadModel`).
    pub architecture: String,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Rows of the token embedding.
    pub d_vocab: usize,
    /// The longest sequence, where the architecture has one.
    pub n_ctx: Option<usize>,
    /// From token ids (and positions) to the residual stream.
    pub embedding: EmbeddingSpec,
    /// The blocks, in order.
    pub layers: Vec<LayerSpec>,
    /// The norm before the unembedding.
    pub final_norm: Option<NormSpec>,
    /// From the residual stream to logits.
    pub unembed: UnembedSpec,
    /// Name patterns (`*` matches anything) of checkpoint tensors that HF ignores as well, such as stored masks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_tensors: Vec<String>,
}

impl ModelSpec {
    /// Whether some position's encoding depends on the total length, so that cached, chunked and prefix runs
    /// legitimately differ from a single full one.
    pub fn positions_depend_on_length(&self) -> bool {
        let attentions = self.layers.iter().filter_map(|layer| layer.attn.as_ref());
        attentions
            .map(|branch| &branch.body.position)
            .any(PositionSpec::depends_on_length)
    }
}

/// One block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSpec {
    /// How the two branches join the residual stream.
    pub wiring: Wiring,
    /// The attention branch.
    pub attn: Option<Branch<AttentionSpec>>,
    /// The MLP branch.
    pub mlp: Option<Branch<MlpSpec>>,
    /// HF's module of the whole block; its input is `hook_resid_pre`, its output `hook_resid_post`.
    pub module: Option<String>,
    /// Where HF shows a value at another place than its component implies, by the hook's name within the block.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub taps: BTreeMap<String, HfTap>,
}

impl LayerSpec {
    /// Attention, then the MLP, in HF's module `module`; every tap is where its component implies.
    pub fn sequential(module: String, attn: Branch<AttentionSpec>, mlp: Branch<MlpSpec>) -> Self {
        Self {
            wiring: Wiring::Sequential,
            attn: Some(attn),
            mlp: Some(mlp),
            module: Some(module),
            taps: BTreeMap::new(),
        }
    }

    /// The same where HF's module of each branch adds the residual itself: what the branch puts out is seen at its last
    /// product.
    #[must_use]
    pub fn adding_residuals_within(mut self) -> Self {
        let attn = self.attn.as_ref().map(|branch| &branch.body.o);
        let mlp = match self.mlp.as_ref().map(|branch| &branch.body) {
            Some(MlpSpec::Dense(mlp)) => Some(&mlp.output),
            Some(MlpSpec::Moe(_)) | None => None,
        };
        let taps = [("hook_attn_out", attn), ("hook_mlp_out", mlp)];
        let taps = taps.map(|(hook, product)| Some((hook.to_owned(), product?.tap.clone()?)));
        self.taps.extend(taps.into_iter().flatten());
        self
    }

    /// Whether it rotates queries and keys.
    pub(crate) fn rotates(&self) -> bool {
        let attention = self.attn.as_ref().map(|branch| &branch.body);
        attention.is_some_and(|attention| matches!(attention.position, PositionSpec::Rotary(_)))
    }

    /// Whether its positions are made to go beyond the context that they were trained on.
    pub(crate) fn stretches(&self) -> bool {
        let attention = self.attn.as_ref().map(|branch| &branch.body);
        attention.is_some_and(|attention| attention.position.stretches())
    }
}

/// How attention and MLP join the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wiring {
    /// The MLP reads the stream after attention was added.
    Sequential,
    /// Both read the block's input; their sum is added once (GPT-J, GPT-NeoX, Falcon, Cohere).
    Parallel,
}

/// `stream + output_scale * output_norm(body(input_norm(stream)))`, with the parts that a family has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch<T> {
    /// What the body reads.
    pub input: BranchInput,
    /// The body.
    pub body: T,
    /// A norm of the body's output before it joins the stream (Gemma-2, OLMo-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_norm: Option<NormSpec>,
    /// A factor on what joins the stream (Granite's `residual_multiplier`); 1 elsewhere.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub output_scale: f64,
    /// What the branch's output is added to.
    #[serde(default, skip_serializing_if = "ResidualSource::is_stream")]
    pub residual: ResidualSource,
    /// A norm of the sum (post-norm blocks: BERT, OPT-350m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_norm: Option<NormSpec>,
}

impl<T> Branch<T> {
    /// A branch that only normalises its input.
    pub fn pre_norm(norm: NormSpec, body: T) -> Self {
        Self {
            input: BranchInput::Norm(norm),
            body,
            output_norm: None,
            output_scale: 1.0,
            residual: ResidualSource::Stream,
            sum_norm: None,
        }
    }

    /// The norm of its own that the branch reads through.
    pub fn input_norm(&self) -> Option<&NormSpec> {
        match &self.input {
            BranchInput::Norm(norm) => Some(norm),
            BranchInput::Stream | BranchInput::SharedNorm => None,
        }
    }
}

/// What a branch reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BranchInput {
    /// The stream itself (post-norm blocks).
    Stream,
    /// The stream through a norm of the branch's own.
    Norm(NormSpec),
    /// What the attention branch reads (GPT-J, Cohere: one norm for both).
    SharedNorm,
}

/// What a branch's output is added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResidualSource {
    /// The stream.
    #[default]
    Stream,
    /// The normalised input (Bloom with `apply_residual_connection_post_layernorm`).
    Input,
}

impl ResidualSource {
    fn is_stream(&self) -> bool {
        *self == Self::Stream
    }
}

pub(crate) fn one() -> f64 {
    1.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
pub(crate) fn is_one(value: &f64) -> bool {
    *value == 1.0
}
