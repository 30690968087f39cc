//! Norms over the last dimension.

use serde::{Deserialize, Serialize};

use super::source::TensorSource;

/// `normalized = (x - mean?) / scale`, then `normalized * (gain + gain_offset) + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormSpec {
    /// Whether the mean is taken out.
    pub kind: NormKind,
    /// Added to the variance (or mean square) inside the root.
    pub eps: f64,
    /// The factor per channel.
    pub gain: Option<TensorSource>,
    /// Added to the gain: 1 where the checkpoint stores it around 0 (Gemma).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gain_offset: f64,
    /// The summand per channel.
    pub bias: Option<TensorSource>,
    /// HF's module.
    pub module: Option<String>,
    /// The config keys that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}

/// What a norm divides by, and whether it centres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// `scale = sqrt(var(x) + eps)`, centred ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)).
    LayerNorm,
    /// `scale = sqrt(mean(x^2) + eps)`, not centred ([Zhang & Sennrich 2019](https://arxiv.org/abs/1910.07467)).
    RmsNorm,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}
