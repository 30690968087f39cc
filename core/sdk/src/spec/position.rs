//! Positions inside attention.

use serde::{Deserialize, Serialize};

use super::source::TensorSource;

/// What tells positions apart inside attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PositionSpec {
    /// Nothing (learned absolute positions, or none at all).
    None,
    /// Queries and keys are rotated.
    Rotary(RotarySpec),
    /// Scores get a linear bias per head.
    Alibi(AlibiSpec),
    /// Scores get a learned bias per bucket of distances (T5).
    RelativeBias(RelativeBiasSpec),
}

impl PositionSpec {
    /// Whether positions adapt to any length, so that the trained context is no bound.
    pub(crate) fn stretches(&self) -> bool {
        matches!(
            self,
            Self::Rotary(RotarySpec {
                scaling: RotaryScaling::Dynamic { .. },
                ..
            })
        )
    }

    /// Whether a position's encoding depends on the total length, so that cached, chunked and prefix runs legitimately
    /// differ from a single full one.
    pub fn depends_on_length(&self) -> bool {
        matches!(
            self,
            Self::Rotary(RotarySpec {
                scaling: RotaryScaling::Dynamic { .. } | RotaryScaling::LongRope { .. },
                ..
            })
        )
    }
}

/// Rotary position embedding ([Su et al. 2021](https://arxiv.org/abs/2104.09864)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotarySpec {
    /// How many leading channels of a head are rotated (fewer than `d_head`: partial rotary).
    pub dim: usize,
    /// Which channels form a pair.
    pub pairing: Pairing,
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// How the series is adapted to longer contexts.
    pub scaling: RotaryScaling,
}

/// Which channels form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// `(i, i + dim / 2)` (NeoX, Llama in HF's layout).
    Half,
    /// `(2 i, 2 i + 1)` (GPT-J, Cohere).
    Interleaved,
}

/// HF's `rope_type`s (`transformers/modeling_rope_utils.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RotaryScaling {
    /// Unscaled.
    None,
    /// All positions divided by `factor`.
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// NTK by length: `theta` grows once a sequence exceeds `original_n_ctx`.
    Dynamic {
        /// The stretch.
        factor: f64,
        /// The context that the model was trained on.
        original_n_ctx: usize,
    },
    /// NTK by parts ([Peng et al. 2023](https://arxiv.org/abs/2309.00071)).
    Yarn {
        /// The stretch.
        factor: f64,
        /// The context that the model was trained on.
        original_n_ctx: usize,
        /// Rotations over the original context above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which it is interpolated.
        beta_slow: f64,
        /// The factor on cos and sin.
        attention_factor: f64,
        /// Whether the bounds of the ramp are rounded to integers.
        truncate: bool,
    },
    /// A factor per frequency, one set for short and one for long sequences (Phi-3).
    LongRope {
        /// For sequences up to `original_n_ctx`.
        short_factors: Vec<f64>,
        /// For longer ones.
        long_factors: Vec<f64>,
        /// The context that the model was trained on.
        original_n_ctx: usize,
        /// The factor on cos and sin.
        attention_factor: f64,
    },
    /// Llama-3.1's interpolation by wavelength.
    Llama3 {
        /// The stretch.
        factor: f64,
        /// Wavelengths above `original_n_ctx / low_freq_factor` are stretched in full.
        low_freq_factor: f64,
        /// Wavelengths below `original_n_ctx / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context that the model was trained on.
        original_n_ctx: usize,
    },
}

/// Attention with linear biases ([Press et al. 2021](https://arxiv.org/abs/2108.12409)): `slope[head] * key_position`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlibiSpec {
    /// One slope per head, as HF computes it also where the heads are no power of two.
    pub slopes: Vec<f64>,
}

impl AlibiSpec {
    /// The slopes that the paper gives `n_heads` heads: a geometric series for the largest power of two among them, and
    /// every other member of the next finer one for the rest.
    pub fn geometric(n_heads: usize) -> Self {
        let power = n_heads.checked_ilog2().map_or(0, |log| 1 << log);
        // The series for `count` heads ends at 2^-8.
        let slope = |nth: usize, count: usize| (-8.0 * nth as f64 / count as f64).exp2();
        let coarse = (1..=power).map(|nth| slope(nth, power));
        let finer = (0..n_heads - power).map(|nth| slope(2 * nth + 1, 2 * power));
        Self {
            slopes: coarse.chain(finer).collect(),
        }
    }
}

/// A learned bias per bucket of distances ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683), section 2.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelativeBiasSpec {
    /// `[n_buckets, n_heads]`.
    pub table: TensorSource,
    /// The number of buckets.
    pub n_buckets: usize,
    /// The distance from which all fall into the last bucket.
    pub max_distance: usize,
}
