//! Masking and softmax of attention scores.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::{elements, in_precision, storage};

/// `scores [batch, heads, pos, key_pos]` times `scale`, with -inf where `visible [batch, pos, key_pos]` is false.
pub(crate) fn mask_scores(scores: &Tensor, scale: f64, visible: &Arc<Vec<bool>>) -> Result<Tensor> {
    scores.contiguous()?.apply_op1(MaskScores {
        scale,
        visible: Arc::clone(visible),
    })
}

/// The softmax over the last dimension. A row that sees nothing is 0, as in HookedTransformer.
pub(crate) fn softmax(scores: &Tensor) -> Result<Tensor> {
    scores.contiguous()?.apply_op1(Softmax)
}

struct MaskScores {
    scale: f64,
    visible: Arc<Vec<bool>>,
}

impl CustomOp1 for MaskScores {
    fn name(&self) -> &'static str {
        "mask-scores"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: WithDType>(
            op: &MaskScores,
            scores: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let values = elements::<T>(scores, layout)?;
            let (batch, heads, pos, key_pos) = layout.shape().dims4()?;
            let (scale, hidden) = (T::from_f64(op.scale), T::from_f64(f64::NEG_INFINITY));
            let per_row = pos * key_pos;
            if op.visible.len() != batch * per_row {
                return Err(candle_core::Error::Msg(format!(
                    "a mask of {} entries",
                    op.visible.len()
                )));
            }
            let mut out = Vec::with_capacity(values.len());
            for (block, values) in values.chunks(per_row.max(1)).enumerate() {
                let visible = &op.visible[block / heads * per_row..][..per_row];
                out.extend(
                    values
                        .iter()
                        .zip(visible)
                        .map(|(&value, &seen)| if seen { value * scale } else { hidden }),
                );
            }
            Ok(storage(out, layout.shape()))
        }
        in_precision!(scores, run(self, scores, layout))
    }
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: WithDType>(scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            let values = elements::<T>(scores, layout)?;
            let width = layout.dims().last().copied().unwrap_or(1).max(1);
            let mut out = vec![T::from_f64(0.0); values.len()];
            out.par_chunks_mut(width)
                .zip(values.par_chunks(width))
                .with_min_len(16)
                .for_each(|(out, row)| {
                    let max = row
                        .iter()
                        .map(|v| v.to_f64())
                        .fold(f64::NEG_INFINITY, f64::max);
                    if max == f64::NEG_INFINITY && !row.iter().any(|v| v.to_f64().is_nan()) {
                        return;
                    }
                    let mut sum = 0.0;
                    for (out, value) in out.iter_mut().zip(row) {
                        let exp = (value.to_f64() - max).exp();
                        sum += exp;
                        *out = T::from_f64(exp);
                    }
                    for out in out {
                        *out = T::from_f64(out.to_f64() / sum);
                    }
                });
            Ok(storage(out, layout.shape()))
        }
        in_precision!(scores, run(scores, layout))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn hidden_keys_are_minus_infinity_in_every_head() {
        let visible = Arc::new(vec![true, false, true, true]);
        let masked = mask_scores(&tensor(&[1.0; 8], &[1, 2, 2, 2]), 0.5, &visible).unwrap();
        let hidden = f64::NEG_INFINITY;
        assert_eq!(
            flat(&masked),
            [0.5, hidden, 0.5, 0.5, 0.5, hidden, 0.5, 0.5]
        );
    }

    #[test]
    fn a_row_that_sees_nothing_is_zero_and_nan_stays_nan() {
        let hidden = f64::NEG_INFINITY;
        let pattern = softmax(&tensor(
            &[hidden, hidden, 0.0, hidden, f64::NAN, 0.0],
            &[1, 1, 3, 2],
        ))
        .unwrap();
        let pattern = flat(&pattern);
        assert_eq!(pattern[..4], [0.0, 0.0, 1.0, 0.0]);
        assert!(pattern[4].is_nan() && pattern[5].is_nan());
    }
}
