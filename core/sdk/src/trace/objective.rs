//! What is differentiated.

use serde::{Deserialize, Serialize};

use crate::noise::noise;
use crate::tensor::{ShapeError, Tensor};

/// Which gradients of what. Those of hooks and parameters that are captured are computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradientRequest {
    /// The scalar that is differentiated.
    pub objective: Objective,
}

/// A scalar function of the logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// The mean next-token loss over all tokens that are not padding.
    Loss,
    /// The sum of the logits times [`projection_weights`], over all tokens that are not padding.
    ///
    /// The weights of a position sum to 0, so that centring the unembedding changes nothing, and no gradient vanishes.
    Projection {
        /// Of the weights.
        seed: u64,
    },
    /// The difference of two logits at one position, summed over the rows.
    LogitDifference {
        /// The position.
        position: usize,
        /// The token that counts positively.
        token: usize,
        /// The token that counts negatively.
        minus: usize,
    },
}

/// The weights of [`Objective::Projection`], F64 of `shape` `[batch, pos, d_vocab_out]`:
/// [`noise`](crate::noise) less its mean over the vocabulary, divided by the root of the number of elements.
///
/// # Errors
/// If `shape` is none of a tensor.
pub fn projection_weights(seed: u64, shape: [usize; 3]) -> Result<Tensor, ShapeError> {
    let [batch, pos, d_vocab] = shape;
    let count = batch * pos * d_vocab;
    let mut weights = noise(seed, count);
    let scale = (count.max(1) as f64).sqrt();
    for row in weights.chunks_mut(d_vocab.max(1)) {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        for weight in row {
            *weight = (*weight - mean) / scale;
        }
    }
    Tensor::from_vec(weights, &shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_a_position_sum_to_nothing() {
        let weights = projection_weights(3, [2, 3, 50]).unwrap().to_f64_vec();
        for row in weights.chunks(50) {
            assert!(row.iter().sum::<f64>().abs() < 1e-14);
        }
        let norm: f64 = weights.iter().map(|weight| weight * weight).sum();
        assert!((0.8..1.2).contains(&norm), "{norm}");
    }
}
