//! How much each query makes of each key.

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::{AttentionSpec, Mask, PositionSpec};

use super::super::softcap::softcap;
use super::super::softmax::masked;
use crate::error::Result;
use crate::run::Run;

/// From queries and keys to scores.
pub(super) struct Scores {
    scale: f64,
    softcap: Option<f64>,
    /// Of ALiBi ([Press et al. 2021](https://arxiv.org/abs/2108.12409)), by head.
    slopes: Option<Vec<f64>>,
    mask: Mask,
}

impl Scores {
    pub(super) fn new(spec: &AttentionSpec) -> Self {
        Self {
            scale: spec.scale,
            softcap: spec.softcap,
            slopes: match &spec.position {
                PositionSpec::Alibi(alibi) => Some(alibi.slopes.clone()),
                _ => None,
            },
            mask: spec.mask,
        }
    }

    /// `[batch, head, pos, key_pos]`, from `q [batch, head, pos, d_head]` and `k [batch, head, key_pos, d_head]`.
    pub(super) fn forward(&self, run: &Run<'_, '_>, q: &Tensor, k: &Tensor) -> Result<Tensor> {
        let scores = (run.order.product(q, &k.t()?.contiguous()?)? * self.scale)?;
        let scores = softcap(scores, self.softcap)?;
        let scores = match &self.slopes {
            Some(slopes) => scores.broadcast_add(&linear_bias(run, slopes, &scores)?)?,
            None => scores,
        };
        masked(&scores, &run.visible(self.mask)?)
    }
}

/// `slope[head] * key_position`, `[batch, head, 1, key_pos]` in the precision of `scores`. Keys are counted where they
/// are no padding.
fn linear_bias(run: &Run<'_, '_>, slopes: &[f64], scores: &Tensor) -> Result<Tensor> {
    let heads = slopes.len();
    let slopes = Tensor::from_slice(slopes, (1, heads, 1, 1), &Device::Cpu)?;
    let keys = run.inputs.counted_keys(run.piece.end)?;
    let dtype = scores.dtype();
    let product = slopes
        .to_dtype(dtype)?
        .broadcast_mul(&keys.to_dtype(dtype)?)?;
    Ok(product)
}
