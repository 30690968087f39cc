//! Where the gradient of a parameter adds up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Error, Result, Tensor};
use tlbench_sdk::spec::{Cut, TensorSource};

use super::add::{AddRows, AddTo};
use crate::error::EngineError;

/// What works a gradient out.
type Later = Box<dyn Fn() -> Result<Tensor> + Send + Sync>;

/// The gradient of one stored tensor, as far as it has come.
#[derive(Default)]
pub(super) struct Accumulated {
    shares: Mutex<Vec<Share>>,
    /// How often the forward pass took a part of it, less how often the backward pass gave a share for one.
    missing: AtomicUsize,
}

impl Accumulated {
    /// The whole gradient. Every edit lets a gradient through, be it 0: so each use has to have given a share.
    pub(super) fn total(&self, name: &str) -> std::result::Result<Tensor, EngineError> {
        let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = None;
        for share in &*shares {
            share.add_to(&mut sum)?;
        }
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
    pub(crate) fn add(&self, gradient: &Tensor) {
        self.record(Gradient::Known(gradient.clone()));
    }

    /// Adds the gradient by the part, which `gradient` works out where somebody asks for it.
    pub(crate) fn add_later(&self, gradient: impl Fn() -> Result<Tensor> + Send + Sync + 'static) {
        self.record(Gradient::Later(Box::new(gradient)));
    }

    /// Adds the gradient `[.., width]` by the rows `indices` of the part `[rows, width]`.
    pub(crate) fn add_rows(&self, indices: &Tensor, gradient: &Tensor) -> Result<()> {
        let rows = gradient.reshape((indices.elem_count(), ()))?.contiguous()?;
        let indices = indices.clone();
        self.record(Gradient::Rows { indices, rows });
        Ok(())
    }

    /// Takes note of a use that the gradient does not see, of a run in this type.
    pub(crate) fn add_nothing(&self, dtype: DType) {
        self.record(Gradient::Zero(dtype));
    }

    fn record(&self, gradient: Gradient) {
        let shares = self.accumulated.shares.lock();
        shares.unwrap_or_else(PoisonError::into_inner).push(Share {
            source: self.source.clone(),
            gradient,
        });
        self.accumulated.missing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one use of a part gives to the gradient of the whole.
struct Share {
    source: TensorSource,
    gradient: Gradient,
}

enum Gradient {
    Known(Tensor),
    Later(Later),
    Rows { indices: Tensor, rows: Tensor },
    Zero(DType),
}

impl Share {
    fn add_to(&self, sum: &mut Option<Tensor>) -> Result<()> {
        match &self.gradient {
            // It stays as it is for whoever asks again, and sums are taken in place.
            Gradient::Known(gradient) => self.add_part(sum, &gradient.copy()?),
            Gradient::Later(gradient) => self.add_part(sum, &gradient()?),
            Gradient::Rows { indices, rows } if self.source.cut.is_empty() => {
                let whole = self.sum_in_place(sum, rows.dtype())?;
                whole.inplace_op3(rows, indices, &AddRows)
            }
            Gradient::Rows { indices, rows } => {
                let shape = self.source.cut_shape().map_err(Error::wrap)?;
                let part = Tensor::zeros(shape, rows.dtype(), &Device::Cpu)?;
                self.add_part(sum, &part.index_add(indices, rows, 0)?)
            }
            Gradient::Zero(dtype) => self.sum_in_place(sum, *dtype).map(|_| ()),
        }
    }

    /// Adds the gradient by the part, or puts it in the sum's place if it is the whole and the first.
    fn add_part(&self, sum: &mut Option<Tensor>, gradient: &Tensor) -> Result<()> {
        let is_slice = |cut: &&Cut| matches!(cut, Cut::Slice { .. });
        let slices = self.source.cut.iter().take_while(is_slice).count();
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
        if sum.is_none() && slices.is_empty() {
            // Often a view, which whoever asked may want to see from the other side.
            *sum = Some(gradient);
            return Ok(());
        }
        let whole = self.sum_in_place(sum, gradient.dtype())?;
        let part = slices.iter().try_fold(whole, |whole, cut| match cut {
            Cut::Slice { dim, start, len } => whole.narrow(*dim, *start, *len),
            _ => Ok(whole),
        })?;
        part.inplace_op2(&gradient.contiguous()?, &AddTo)
    }

    /// The sum, in one piece of memory.
    fn sum_in_place(&self, sum: &mut Option<Tensor>, dtype: DType) -> Result<Tensor> {
        let whole = match sum.take() {
            Some(whole) => whole.contiguous()?,
            None => Tensor::zeros(self.source.shape.as_slice(), dtype, &Device::Cpu)?,
        };
        Ok(sum.insert(whole).clone())
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
                Sink::new(&accumulated, &source).add(&gradient);
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
        first.add(&random(1, &[2]));
        let error = accumulated.total("w").unwrap_err().to_string();
        insta::assert_snapshot!(error, @"no gradient of w: 1 of its uses gave none");
    }
}
