//! Masking and softmax of attention scores.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::kernel::Real;
use super::{CHUNK, Kernel, elements, fill_rows, in_precision, run_kernel, storage};

/// What is done to the product of a query and a key.
#[derive(Clone)]
pub(crate) struct Scoring {
    /// The factor on it.
    pub(crate) scale: f64,
    /// `cap * tanh(score / cap)`.
    pub(crate) softcap: Option<f64>,
    /// What is added for each key, `[batch, heads, key_pos]`.
    pub(crate) key_bias: Option<Tensor>,
}

/// The products `[batch, heads, pos, key_pos]` as scores, with -inf where `visible [batch, pos, key_pos]` is false.
pub(crate) fn mask_scores(
    products: &Tensor,
    scoring: Scoring,
    visible: &Arc<Vec<bool>>,
) -> Result<Tensor> {
    products.contiguous()?.apply_op1(MaskScores {
        scoring,
        visible: Arc::clone(visible),
    })
}

/// The softmax over the last dimension. A row that sees nothing is 0, as in HookedTransformer.
pub(crate) fn softmax(scores: &Tensor) -> Result<Tensor> {
    scores.contiguous()?.apply_op1(Softmax)
}

struct MaskScores {
    scoring: Scoring,
    visible: Arc<Vec<bool>>,
}

impl CustomOp1 for MaskScores {
    fn name(&self) -> &'static str {
        "mask-scores"
    }

    fn cpu_fwd(&self, products: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(
            op: &MaskScores,
            products: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let values = elements::<T>(products, layout)?;
            let sizes = op.sizes(layout.shape())?;
            let biases = match &op.scoring.key_bias {
                Some(biases) => Some(biases.flatten_all()?.to_vec1::<T>()?),
                None => None,
            };
            let score = |scale: T, value: T| match op.scoring.softcap {
                Some(cap) => T::from_f64(cap * ((value * scale).to_f64() / cap).tanh()),
                None => value * scale,
            };
            let scale = T::from_f64(op.scoring.scale);
            let mut out = vec![T::from_f64(f64::NEG_INFINITY); values.len()];
            fill_rows(&mut out, sizes.key_pos, |row, out| {
                let values = &values[row * sizes.key_pos..];
                let seen = &op.visible[sizes.in_mask(row)..];
                let biases = biases.as_ref().map(|biases| &biases[sizes.in_bias(row)..]);
                for (key, out) in out.iter_mut().enumerate().filter(|(key, _)| seen[*key]) {
                    *out = score(scale, values[key]);
                    if let Some(biases) = biases {
                        *out += biases[key];
                    }
                }
            });
            Ok(storage(out, layout.shape()))
        }
        in_precision!(products, run(self, products, layout))
    }

    fn bwd(&self, products: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let kernel = MaskBackward {
            forward: self,
            sizes: self.sizes(products.shape())?,
        };
        run_kernel(&kernel, [products, grad], products.dims()).map(Some)
    }
}

impl MaskScores {
    fn sizes(&self, shape: &Shape) -> Result<Sizes> {
        let (batch, heads, pos, key_pos) = shape.dims4()?;
        if self.visible.len() != batch * pos * key_pos {
            let entries = self.visible.len();
            return Err(Error::Msg(format!("a mask of {entries} entries")));
        }
        if let Some(biases) = &self.scoring.key_bias
            && biases.dims() != [batch, heads, key_pos]
        {
            return Err(Error::Msg(format!("biases {:?}", biases.dims())));
        }
        Ok(Sizes {
            heads,
            pos,
            key_pos,
        })
    }
}

/// Where the row of one query in one head finds what is about its keys.
struct Sizes {
    heads: usize,
    pos: usize,
    key_pos: usize,
}

impl Sizes {
    fn in_mask(&self, row: usize) -> usize {
        (row / (self.heads * self.pos) * self.pos + row % self.pos) * self.key_pos
    }

    fn in_bias(&self, row: usize) -> usize {
        row / self.pos * self.key_pos
    }
}

/// Nothing flows through what is hidden.
struct MaskBackward<'a> {
    forward: &'a MaskScores,
    sizes: Sizes,
}

impl Kernel<2> for MaskBackward<'_> {
    fn run<T: Real>(&self, [products, grad]: [&[T]; 2]) -> Vec<T> {
        let (sizes, scoring) = (&self.sizes, &self.forward.scoring);
        let scale = T::from_f64(scoring.scale);
        let slope = |value: T| match scoring.softcap {
            Some(cap) => {
                let bent = ((value * scale).to_f64() / cap).tanh();
                T::from_f64(scoring.scale * (1.0 - bent * bent))
            }
            None => scale,
        };
        let mut out = vec![T::from_f64(0.0); grad.len()];
        fill_rows(&mut out, sizes.key_pos, |row, out| {
            let start = row * sizes.key_pos;
            let seen = &self.forward.visible[sizes.in_mask(row)..];
            for (key, out) in out.iter_mut().enumerate().filter(|(key, _)| seen[*key]) {
                *out = grad[start + key] * slope(products[start + key]);
            }
        });
        out
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
                .with_min_len((CHUNK / width).max(1))
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

    fn scoring(scale: f64) -> Scoring {
        Scoring {
            scale,
            softcap: None,
            key_bias: None,
        }
    }

    #[test]
    fn hidden_keys_are_minus_infinity_in_every_head() {
        let visible = Arc::new(vec![true, false, true, true]);
        let products = tensor(&[1.0; 8], &[1, 2, 2, 2]);
        let masked = mask_scores(&products, scoring(0.5), &visible).unwrap();
        let hidden = f64::NEG_INFINITY;
        assert_eq!(
            flat(&masked),
            [0.5, hidden, 0.5, 0.5, 0.5, hidden, 0.5, 0.5]
        );
    }

    #[test]
    fn a_cap_bends_the_scaled_score_and_a_bias_is_added_to_what_comes_of_it() {
        let scoring = Scoring {
            softcap: Some(2.0),
            key_bias: Some(tensor(&[10.0, 20.0, 30.0, 40.0], &[1, 2, 2])),
            ..scoring(0.5)
        };
        let products = tensor(&[1.0, 2.0, 3.0, 4.0], &[1, 2, 1, 2]);
        let visible = Arc::new(vec![true, true]);
        let scores = mask_scores(&products, scoring, &visible).unwrap();
        let capped = |product: f64| 2.0 * (product * 0.5 / 2.0).tanh();
        let expected = [
            capped(1.0) + 10.0,
            capped(2.0) + 20.0,
            capped(3.0) + 30.0,
            capped(4.0) + 40.0,
        ];
        assert_eq!(flat(&scores), expected);
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
