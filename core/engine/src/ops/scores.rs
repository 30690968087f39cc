//! Masking and softmax of attention scores.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::kernel::Real;
use super::{Kernel, elements, fill_rows, in_precision, run_kernel, storage};

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
        fn run<T: Real>(
            op: &MaskScores,
            scores: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let values = elements::<T>(scores, layout)?;
            let (batch, heads, pos, key_pos) = layout.shape().dims4()?;
            let hidden = T::from_f64(f64::NEG_INFINITY);
            if op.visible.len() != batch * pos * key_pos {
                return Err(candle_core::Error::Msg(format!(
                    "a mask of {} entries",
                    op.visible.len()
                )));
            }
            Ok(storage(
                op.scaled(values, heads * pos * key_pos, pos * key_pos, hidden),
                layout.shape(),
            ))
        }
        in_precision!(scores, run(self, scores, layout))
    }

    fn bwd(&self, scores: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, heads, pos, key_pos) = scores.dims4()?;
        let kernel = MaskBackward {
            forward: self,
            per_row: heads * pos * key_pos,
            per_head: pos * key_pos,
        };
        run_kernel(&kernel, [grad], scores.dims()).map(Some)
    }
}

impl MaskScores {
    /// `values` times the scale, and `hidden` where nothing is seen; `per_row` of them belong to a row of the batch.
    fn scaled<T: Real>(&self, values: &[T], per_row: usize, per_head: usize, hidden: T) -> Vec<T> {
        let scale = T::from_f64(self.scale);
        let mut out = vec![hidden; values.len()];
        fill_rows(&mut out, per_head, |block, out| {
            let start = block * per_head;
            let visible = &self.visible[start / per_row * per_head..][..per_head];
            for ((out, &value), &seen) in out.iter_mut().zip(&values[start..]).zip(visible) {
                if seen {
                    *out = value * scale;
                }
            }
        });
        out
    }
}

/// Nothing flows through what is hidden.
struct MaskBackward<'a> {
    forward: &'a MaskScores,
    per_row: usize,
    per_head: usize,
}

impl Kernel<1> for MaskBackward<'_> {
    fn run<T: Real>(&self, [grad]: [&[T]; 1]) -> Vec<T> {
        let (per_row, per_head) = (self.per_row, self.per_head);
        self.forward
            .scaled(grad, per_row, per_head, T::from_f64(0.0))
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

    fn bwd(&self, _: &Tensor, pattern: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let width = pattern.dim(candle_core::D::Minus1)?;
        run_kernel(&SoftmaxBackward { width }, [pattern, grad], pattern.dims()).map(Some)
    }
}

/// `pattern (grad - sum(grad pattern))`.
struct SoftmaxBackward {
    width: usize,
}

impl Kernel<2> for SoftmaxBackward {
    fn run<T: Real>(&self, [pattern, grad]: [&[T]; 2]) -> Vec<T> {
        let width = self.width;
        let mut out = vec![T::from_f64(0.0); grad.len()];
        fill_rows(&mut out, width, |index, out| {
            let rows = index * width..(index + 1) * width;
            let weighted = || pattern[rows.clone()].iter().zip(&grad[rows.clone()]);
            let mean: f64 = weighted()
                .map(|(weight, grad)| weight.to_f64() * grad.to_f64())
                .sum();
            for (out, (weight, grad)) in out.iter_mut().zip(weighted()) {
                *out = T::from_f64(weight.to_f64() * (grad.to_f64() - mean));
            }
        });
        out
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
