//! Feed-forward bodies.

use serde::{Deserialize, Serialize};

use super::source::{ProjectionSpec, TensorSource};
use super::tap::HfTap;

/// A feed-forward body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MlpSpec {
    /// One network for every token.
    Dense(DenseMlp),
    /// A router picks some of many networks for each token.
    Moe(MoeSpec),
}

/// `W_out act(W_in x)`, or gated: `W_out (act(W_gate x) * W_in x)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseMlp {
    /// Width of the hidden layer.
    pub d_mlp: usize,
    /// `W_in` as `[d_mlp, d_model]`.
    pub input: ProjectionSpec,
    /// `W_gate` as `[d_mlp, d_model]`: the branch that goes through the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<ProjectionSpec>,
    /// `W_out` as `[d_model, d_mlp]`.
    pub output: ProjectionSpec,
    /// The non-linearity.
    pub activation: Activation,
    /// HF's module of the whole body; its output is `hook_mlp_out`.
    pub module: Option<String>,
    /// Where HF shows `mlp.hook_post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_tap: Option<HfTap>,
    /// The config keys that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}

/// An element-wise non-linearity, by the function that HF's `ACT2FN` name means (`transformers/activations.py`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Activation {
    /// `x * Phi(x)` with the error function (`gelu`).
    Gelu,
    /// The tanh approximation of GELU (`gelu_new`, `gelu_fast`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `x * sigmoid(1.702 x)` (`quick_gelu`).
    QuickGelu,
    /// `x * sigmoid(x)` (`silu`, `swish`).
    Silu,
    /// `max(x, 0)` (`relu`).
    Relu,
    /// `max(x, 0)^2` (`relu2`).
    ReluSquared,
    /// A SiLU with both factors clamped (GPT-OSS): `(up + 1) * gate * sigmoid(alpha * gate)`.
    ClampedSwiglu {
        /// The slope inside the sigmoid.
        alpha: f64,
        /// The bound on gate (above) and up (both sides).
        limit: f64,
    },
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoeSpec {
    /// `W_gate` as `[n_experts, d_model]`.
    pub router: ProjectionSpec,
    /// Added to the scores for the choice alone (DeepSeek-V3), `[n_experts]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice_bias: Option<TensorSource>,
    /// How router logits become weights.
    pub score: RouterScore,
    /// Whether weights are computed over all experts or over the chosen ones.
    pub order: ScoreOrder,
    /// Experts per token.
    pub top_k: usize,
    /// Whether the chosen weights are divided by their sum.
    pub renormalise: Renormalise,
    /// A factor on the routed sum (`routed_scaling_factor`); 1 elsewhere.
    #[serde(default = "super::one", skip_serializing_if = "super::is_one")]
    pub routed_scale: f64,
    /// The experts, in the order of the router's rows.
    pub experts: Vec<DenseMlp>,
    /// A network that serves every token as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<Box<DenseMlp>>,
    /// HF's module of the whole body; its output is `hook_mlp_out`.
    pub module: Option<String>,
    /// The config keys that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}

/// How router logits become weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterScore {
    /// Mixtral, OLMoE, Qwen.
    Softmax,
    /// DeepSeek-V3, GLM-4.
    Sigmoid,
}

/// Whether the router's weights are computed before or after the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreOrder {
    /// Over all experts.
    BeforeTopK,
    /// Over the chosen ones (GPT-OSS, Granite).
    AfterTopK,
}

/// Whether the chosen weights are divided by their sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Renormalise {
    /// Mixtral; others with `norm_topk_prob`.
    Yes,
    /// OLMoE as published.
    No,
}

impl MlpSpec {
    /// HF's module of the whole body.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::Dense(dense) => dense.module.as_deref(),
            Self::Moe(moe) => moe.module.as_deref(),
        }
    }
}
