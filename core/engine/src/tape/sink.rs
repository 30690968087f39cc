//! Where the gradient of a parameter adds up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Error, Result, Tensor};
use tlbench_sdk::spec::{Cut, TensorSource};

use super::add::{AddRows, AddTo};
use crate::error::EngineError;

/// The gradient of one stored tensor, as far as it has come.
#[derive(Default)]
pub(super) struct Accumulated {
    sum: Mutex<Option<Tensor>>,
    /// How often the forward pass took a part of it, less how often the backward pass gave a share for one.
    missing: AtomicUsize,
}

impl Accumulated {
    /// The whole gradient. Every edit lets a gradient through, be it 0: so each use has to have given a share.
    pub(super) fn total(&self, name: &str) -> std::result::Result<Tensor, EngineError> {
        let sum = self
            .sum
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match (sum, self.missing.load(Ordering::Relaxed)) {
            (Some(sum), 0) => Ok(sum),
            (_, missing) => Err(EngineError::NoGradient {
                of: name.to_owned(),
                detail: format!("{missing} of its uses gave none"),
            }),
        }
    }
}

/// Takes the gradient of one use of a part of a stored tensor.
#[derive(Clone)]
pub(crate) struct Sink {
    accumulated: Arc<Accumulated>,
    /// From the stored tensor to the part.
    source: TensorSource,
}

impl Sink {
    /// For one use of `source`.
    pub(super) fn new(accumulated: &Arc<Accumulated>, source: &TensorSource) -> Self {
        accumulated.missing.fetch_add(1, Ordering::Relaxed);
        Self {
            accumulated: Arc::clone(accumulated),
            source: source.clone(),
        }
    }

    /// Adds the gradient by the part.
    pub(crate) fn add(&self, gradient: &Tensor) -> Result<()> {
        let slices = self
            .source
            .cut
            .iter()
            .take_while(|cut| matches!(cut, Cut::Slice { .. }))
            .count();
        let (slices, others) = self.source.cut.split_at(slices);
        let mut shapes = vec![self.source.shape.clone()];
        for cut in &self.source.cut {
            let shape = cut.shape(&shapes[shapes.len() - 1]);
            shapes.push(shape.map_err(Error::wrap)?);
        }
        let shapes = &shapes[slices.len()..];
        let mut gradient = gradient.clone();
        for (cut, before) in others.iter().zip(shapes).rev() {
            gradient = uncut(cut, before, &gradient)?;
        }
        let gradient = gradient.contiguous()?;
        self.update(&gradient, slices.is_empty(), |whole| {
            let part = slices
                .iter()
                .try_fold(whole.clone(), |whole, cut| match cut {
                    Cut::Slice { dim, start, len } => whole.narrow(*dim, *start, *len),
                    _ => Ok(whole),
                })?;
            part.inplace_op2(&gradient, &AddTo)
        })
    }

    /// Adds the gradient `[.., width]` by the rows `indices` of the part `[rows, width]`.
    pub(crate) fn add_rows(&self, indices: &Tensor, gradient: &Tensor) -> Result<()> {
        let rows = gradient.reshape((indices.elem_count(), ()))?.contiguous()?;
        if !self.source.cut.is_empty() {
            let shape = self.source.cut_shape().map_err(Error::wrap)?;
            let part = Tensor::zeros(shape, rows.dtype(), &Device::Cpu)?;
            return self.add(&part.index_add(indices, &rows, 0)?);
        }
        self.update(&rows, false, |whole| {
            whole.inplace_op3(&rows, indices, &AddRows)
        })
    }

    /// Puts `share` in the sum's place if it is the whole and the first, and lets `add` add it otherwise.
    fn update(
        &self,
        share: &Tensor,
        is_whole: bool,
        add: impl FnOnce(&Tensor) -> Result<()>,
    ) -> Result<()> {
        let mut sum = self
            .accumulated
            .sum
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*sum {
            None if is_whole => *sum = Some(share.clone()),
            Some(whole) => add(whole)?,
            None => {
                let shape = self.source.shape.as_slice();
                let whole = Tensor::zeros(shape, share.dtype(), &Device::Cpu)?;
                add(&whole)?;
                *sum = Some(whole);
            }
        }
        self.accumulated.missing.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The gradient by what `cut` was made of, of shape `before`, from that by what it gave.
fn uncut(cut: &Cut, before: &[usize], gradient: &Tensor) -> Result<Tensor> {
    match cut {
        Cut::Transpose => gradient.t(),
        Cut::Slice { dim, start, len } => {
            gradient.pad_with_zeros(*dim, *start, before[*dim] - start - len)
        }
        Cut::Reshape { .. } => gradient.reshape(before),
        Cut::Permute { dims } => {
            let mut inverse = vec![0; dims.len()];
            for (to, &from) in dims.iter().enumerate() {
                inverse[from] = to;
            }
            gradient.permute(inverse)
        }
        Cut::Add { .. } => Ok(gradient.clone()),
    }
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::noise;

    use super::*;

    fn random(seed: u64, shape: &[usize]) -> Tensor {
        let values = noise(seed, shape.iter().product());
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn dot(a: &Tensor, b: &Tensor) -> f64 {
        let product = (a * b).unwrap().sum_all().unwrap();
        product.to_scalar().unwrap()
    }

    fn cut(whole: &Tensor, cut: &Cut) -> Result<Tensor> {
        match cut {
            Cut::Transpose => whole.t(),
            Cut::Slice { dim, start, len } => whole.narrow(*dim, *start, *len),
            Cut::Reshape { shape } => whole.reshape(shape.as_slice()),
            Cut::Permute { dims } => whole.permute(dims.as_slice()),
            Cut::Add { .. } => Ok(whole.clone()),
        }
    }

    /// Cuts are linear but for what they add, so what undoes them is their adjoint.
    #[test]
    fn the_gradient_of_a_part_lies_where_the_part_was_cut_from() {
        let slice = |dim, start, len| Cut::Slice { dim, start, len };
        let reshape = |shape: &[usize]| Cut::Reshape {
            shape: shape.to_vec(),
        };
        let permute = |dims: &[usize]| Cut::Permute {
            dims: dims.to_vec(),
        };
        for cuts in [
            vec![],
            vec![Cut::Transpose],
            vec![slice(1, 2, 3), Cut::Transpose],
            vec![slice(0, 1, 2), slice(1, 4, 2), Cut::Transpose],
            vec![Cut::Transpose, slice(0, 3, 2)],
            vec![reshape(&[2, 2, 6]), slice(1, 1, 1), reshape(&[2, 6])],
            vec![reshape(&[2, 2, 6]), permute(&[2, 0, 1]), slice(2, 0, 1)],
            vec![Cut::Add { values: vec![0.5] }, slice(1, 0, 2)],
        ] {
            let whole = random(1, &[4, 6]);
            let part = cuts
                .iter()
                .try_fold(whole.clone(), |whole, step| cut(&whole, step));
            let part = part.unwrap();
            let source = TensorSource {
                cut: cuts.clone(),
                ..TensorSource::new(["w"], [4, 6])
            };
            let accumulated = Arc::default();
            let mut expected = 0.0;
            // Two uses, as of a tied parameter.
            for seed in [2, 3] {
                let gradient = random(seed, part.dims());
                Sink::new(&accumulated, &source).add(&gradient).unwrap();
                expected += dot(&gradient, &part);
            }
            let found = dot(&accumulated.total("w").unwrap(), &whole);
            assert!((found - expected).abs() < 1e-12, "{cuts:?}");
        }
    }

    #[test]
    fn a_use_that_gives_no_share_is_an_error_that_names_the_parameter() {
        let accumulated: Arc<Accumulated> = Arc::default();
        let source = TensorSource::new(["w"], [2]);
        let first = Sink::new(&accumulated, &source);
        let _second = Sink::new(&accumulated, &source);
        first.add(&random(1, &[2])).unwrap();
        let error = accumulated.total("w").unwrap_err().to_string();
        insta::assert_snapshot!(error, @"no gradient of w: 1 of its uses gave none");
    }
}
