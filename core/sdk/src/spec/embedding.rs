//! The two ends of the residual stream.

use serde::{Deserialize, Serialize};

use super::norm::NormSpec;
use super::source::{ProjectionSpec, TensorSource};
use super::{is_one, one};

/// `norm(scale * W_E[token]) + W_pos[position]`, with the parts that a family has. The first summand is `hook_embed`,
/// the second `hook_pos_embed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// `W_E [d_vocab, d_model]`.
    pub tokens: TensorSource,
    /// HF's module of the token embedding; its output is scaled, but not normalised.
    pub module: Option<String>,
    /// A factor on the token embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<EmbeddingScale>,
    /// A learned table of positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<PositionTable>,
    /// A norm of the token embedding (Bloom).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<NormSpec>,
    /// The config keys that table and scale were made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}

/// A factor on the token embedding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingScale {
    /// The factor (Gemma: the square root of `d_model`).
    pub value: f64,
    /// HF rounds the factor to the dtype of the weights before it multiplies (Gemma).
    #[serde(default)]
    pub rounded_to_weights: bool,
}

/// Learned absolute positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionTable {
    /// `W_pos [n_ctx + offset, d_model]`.
    pub table: TensorSource,
    /// The row of position 0 (OPT: 2).
    #[serde(default)]
    pub offset: usize,
    /// HF's module; its output is `hook_pos_embed`.
    pub module: Option<String>,
    /// The config keys that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}

/// `softcap(logit_scale * (W_U x + b_U))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnembedSpec {
    /// `W_U` as `[d_vocab_out, d_model]`, and its bias. A tied head names the tensor of the embedding.
    pub projection: ProjectionSpec,
    /// Width of the logits.
    pub d_vocab_out: usize,
    /// A factor on the logits (Cohere's `logit_scale`); 1 elsewhere.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub logit_scale: f64,
    /// `cap * tanh(logits / cap)` (Gemma-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f64>,
    /// The config keys that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}
