//! Softmax attention.

use serde::{Deserialize, Serialize};

use super::norm::NormSpec;
use super::position::PositionSpec;
use super::source::{ProjectionSpec, TensorSource};

/// Multi-head attention, with any number of key and value heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionSpec {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` consecutive query heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// `W_Q` as `[n_heads * d_head, d_model]`.
    pub q: ProjectionSpec,
    /// `W_K` as `[n_kv_heads * d_head, d_model]`.
    pub k: ProjectionSpec,
    /// `W_V` as `[n_kv_heads * d_head, d_model]`.
    pub v: ProjectionSpec,
    /// `W_O` as `[d_model, n_heads * d_head]`.
    pub o: ProjectionSpec,
    /// Clamps q, k and v to `[-c, c]` (OLMo, MPT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_qkv: Option<f64>,
    /// Norms of queries and keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_norm: Option<HeadNorms>,
    /// What tells positions apart inside attention.
    pub position: PositionSpec,
    /// The factor on `q . k`, usually `1 / sqrt(d_head)`.
    pub scale: f64,
    /// `cap * tanh(scores / cap)`, before the mask (Gemma-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softcap: Option<f64>,
    /// Which keys a query sees.
    pub mask: Mask,
    /// One more logit per head in the softmax's denominator (GPT-OSS), `[n_heads]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sinks: Option<TensorSource>,
    /// HF's module.
    pub module: Option<String>,
    /// How HF lets one see inside it.
    pub port: super::tap::AttentionPort,
    /// The config keys that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_keys: Vec<String>,
}

/// Norms of queries and keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadNorms {
    /// Of the queries.
    pub q: HeadNorm,
    /// Of the keys.
    pub k: HeadNorm,
    /// Before or after the rotation.
    pub order: NormOrder,
}

/// A norm of queries or keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadNorm {
    /// The norm.
    pub norm: NormSpec,
    /// What it runs over.
    pub extent: Extent,
}

/// What a norm of queries or keys runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Each head by itself (Qwen-3, Gemma-3).
    Head,
    /// All heads together (OLMoE, OLMo-2).
    AllHeads,
}

/// Where a norm of queries and keys stands relative to the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormOrder {
    /// Most families.
    BeforeRotary,
    /// Hunyuan.
    AfterRotary,
}

/// Which keys a query sees, by distance. A key that the attention mask hides is never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mask {
    /// The query at `i` sees the keys from `i - back` to `i + ahead`; `None` is without limit.
    Band {
        /// How far back (a sliding window of `w` has `w - 1`).
        back: Option<usize>,
        /// How far ahead (causal: 0).
        ahead: Option<usize>,
    },
    /// The query sees the keys up to its own position in its own chunk of `size` (Llama-4). The first chunk begins behind
    /// the padding on the left, as HF's does.
    Chunked {
        /// Positions per chunk.
        size: usize,
    },
}

impl Mask {
    /// Everything up to the query itself.
    pub const CAUSAL: Self = Self::Band {
        back: None,
        ahead: Some(0),
    };

    /// Everything.
    pub const ALL: Self = Self::Band {
        back: None,
        ahead: None,
    };

    /// The `window` latest positions, the query's own included.
    pub const fn sliding(window: usize) -> Self {
        Self::Band {
            back: Some(window.saturating_sub(1)),
            ahead: Some(0),
        }
    }

    /// [`Mask::sliding`] where there is a window, and [`Mask::CAUSAL`] where there is none.
    pub fn windowed(window: Option<usize>) -> Self {
        window.map_or(Self::CAUSAL, Self::sliding)
    }

    /// Whether the query at `query` sees the key at `key`.
    pub fn sees(self, query: usize, key: usize) -> bool {
        match self {
            Self::Band { back, ahead } => {
                back.is_none_or(|back| query <= key.saturating_add(back))
                    && ahead.is_none_or(|ahead| key <= query.saturating_add(ahead))
            }
            Self::Chunked { size } => key <= query && size > 0 && key / size == query / size,
        }
    }

    /// The same in a row that begins with `padding` places of padding: distances count them, and chunks do not.
    pub fn sees_behind(self, padding: usize, query: usize, key: usize) -> bool {
        match self {
            Self::Band { .. } => self.sees(query, key),
            Self::Chunked { .. } => {
                padding <= query.min(key) && self.sees(query - padding, key - padding)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sliding_window_counts_the_query_itself() {
        let window = Mask::sliding(3);
        let seen: Vec<usize> = (0..8).filter(|&key| window.sees(5, key)).collect();
        assert_eq!(seen, [3, 4, 5]);
    }

    #[test]
    fn a_band_without_limits_is_bidirectional() {
        assert!((0..9).all(|key| Mask::ALL.sees(4, key)));
        assert!((0..=4).all(|key| Mask::CAUSAL.sees(4, key)));
        assert!(!Mask::CAUSAL.sees(4, 5));
    }

    #[test]
    fn chunks_do_not_see_each_other() {
        let chunked = Mask::Chunked { size: 4 };
        let seen: Vec<usize> = (0..9).filter(|&key| chunked.sees(6, key)).collect();
        assert_eq!(seen, [4, 5, 6]);
    }

    #[test]
    fn chunks_begin_behind_the_padding_on_the_left_and_windows_count_it() {
        let seen = |mask: Mask| -> Vec<usize> {
            let keys = 0..9;
            keys.filter(|&key| mask.sees_behind(2, 6, key)).collect()
        };
        assert_eq!(seen(Mask::Chunked { size: 4 }), [6]);
        assert_eq!(seen(Mask::Chunked { size: 5 }), [2, 3, 4, 5, 6]);
        assert_eq!(seen(Mask::sliding(6)), [1, 2, 3, 4, 5, 6]);
    }
}
