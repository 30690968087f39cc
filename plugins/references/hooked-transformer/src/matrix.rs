//! Matrices and tables: what products and look-ups take.
//!
//! They are most of what a model is. So a run has no copy of them in its own precision, but converts each where it needs
//! it; and what it is differentiated by is no variable of candle's, which would be a copy as well, but gets its gradient
//! from the product itself.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, D, DType, Device, Layout, Result, Shape, Storage, Tensor, Var, bail,
};
use rayon::prelude::*;

use crate::order::Order;
use crate::weight::Weight;

/// Elements that are converted at a time, where that changes nothing.
const TOGETHER: usize = 1 << 17;

/// A matrix `[.., in, out]`, or a table `[rows, width]`, in whatever precision it is kept. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    weight: Weight,
    /// Where its gradient goes, if somebody wants that.
    shares: Option<Shares>,
}

impl Matrix {
    pub(crate) const fn new(weight: Weight, shares: Option<Shares>) -> Self {
        Self { weight, shares }
    }

    pub(crate) fn dims(&self) -> &[usize] {
        self.weight.dims()
    }

    /// The same with all dimensions but the last in one.
    pub(crate) fn flattened(&self) -> Result<Self> {
        Ok(Self {
            weight: self.weight.stacked()?,
            shares: self.shares.clone(),
        })
    }

    /// `left [.., m, in]` times this, in the precision of `left`.
    pub(crate) fn times(&self, left: &Tensor, order: Order) -> Result<Tensor> {
        let product = match order {
            Order::Whole => product(&left.detach(), &self.weight)?,
            Order::Pieces(_) => {
                order.product(&left.detach(), &self.weight.in_dtype(left.dtype())?)?
            }
        };
        let left = match (left.track_op(), &self.shares) {
            (true, _) => left.clone(),
            (false, Some(_)) => Var::from_tensor(left)?.into_inner(),
            (false, None) => return Ok(product),
        };
        left.apply_op1(ByMatrix {
            product,
            matrix: self.clone(),
        })
    }

    /// The rows `indices` in `dtype`. Where the gradient is wanted, it comes by the value that `leaf` makes of them.
    pub(crate) fn rows(
        &self,
        indices: &Tensor,
        dtype: DType,
        leaf: impl FnOnce(Tensor) -> crate::error::Result<Tensor>,
    ) -> crate::error::Result<Tensor> {
        let rows = leaf(self.weight.rows(indices)?.in_dtype(dtype)?)?;
        match &self.shares {
            Some(shares) => Ok(rows.apply_op1(Rows {
                indices: indices.clone(),
                shares: shares.clone(),
            })?),
            None => Ok(rows),
        }
    }
}

/// `left [.., m, k]` times `right [.., k, n]`, which is worked out as a whole for a rounded run, and for an exact one block
/// by block, each of which lies in memory in one piece or nearly so.
pub(crate) fn product(left: &Tensor, right: &Weight) -> Result<Tensor> {
    let dtype = left.dtype();
    // The kernel sums narrow blocks in another order, which rounds less than that of a healthy implementation.
    if right.is_stored_in(dtype) || dtype != DType::F64 {
        return left.matmul(&right.in_dtype(dtype)?);
    }
    match *right.dims() {
        [matrices, _, _] => {
            let products = blocks(right, matrices).into_par_iter().map(|block| {
                let left = left.narrow(0, block.start, block.len())?;
                left.matmul(&right.matrices(block)?.in_dtype(dtype)?)
            });
            Tensor::cat(&products.collect::<Result<Vec<_>>>()?, 0)
        }
        [_, columns] if right.is_transposed() => {
            let products = blocks(right, columns)
                .into_par_iter()
                .map(|block| left.matmul(&right.columns(block, dtype)?));
            Tensor::cat(&products.collect::<Result<Vec<_>>>()?, D::Minus1)
        }
        [rows, _] => {
            let products = blocks(right, rows).into_iter().map(|block| {
                let left = left.narrow(D::Minus1, block.start, block.len())?;
                left.matmul(&right.some_rows(block, dtype)?)
            });
            let sum = products.reduce(|sum, product| sum? + product?);
            sum.unwrap_or_else(|| left.matmul(&right.in_dtype(dtype)?))
        }
        _ => left.matmul(&right.in_dtype(dtype)?),
    }
}

/// The ranges of one of `weight`'s dimensions, of `len`, that are worked out at a time.
fn blocks(weight: &Weight, len: usize) -> Vec<Range<usize>> {
    let elements = weight.dims().iter().product::<usize>().max(1);
    let step = (TOGETHER * len / elements).max(1);
    let starts = (0..len).step_by(step);
    starts.map(|start| start..len.min(start + step)).collect()
}

/// What the gradient of one matrix is made of, as far as it has come: it is as large as the matrix, and so is worked out
/// when somebody takes it.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    shape: Shape,
    lies: Lies,
    shares: Arc<Mutex<Vec<Share>>>,
}

/// In which order the gradient of a matrix is worked out, so that it lies in memory as whoever asks for it takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// As the matrix is stored: it goes back into a tensor of the checkpoint.
    AsStored,
    RowByRow,
}

/// What one use of a matrix adds to its gradient.
#[derive(Debug)]
enum Share {
    /// `left [.., m, in]` was multiplied by it, and `gradient [.., m, out]` came back.
    Product {
        left: Tensor,
        gradient: Tensor,
        is_transposed: bool,
    },
    /// These of its rows were taken, and `gradient [m, width]` came back.
    Rows { indices: Tensor, gradient: Tensor },
}

impl Shares {
    /// None yet of the gradient by `weight`.
    pub(crate) fn of(weight: &Weight, lies: Lies) -> Self {
        Self {
            shape: weight.dims().into(),
            lies,
            shares: Arc::default(),
        }
    }

    fn add(&self, share: Share) {
        self.all().push(share);
    }

    fn all(&self) -> MutexGuard<'_, Vec<Share>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that has come, and `sum` if that is there, in which it may be added up. Nobody else has it.
    pub(crate) fn total(&self, sum: Option<Tensor>, dtype: DType) -> Result<Tensor> {
        let shares = self.all();
        let sum = shares.iter().try_fold(sum, |sum, share| {
            let Some(product) = share.product(&self.shape)? else {
                return Ok(sum);
            };
            match sum {
                Some(sum) => (sum + product).map(Some),
                None => Ok(Some(product)),
            }
        })?;
        let total = match sum {
            Some(sum) if shares.iter().any(Share::is_rows) => sum.contiguous()?,
            Some(sum) => sum,
            None => Tensor::zeros(&self.shape, dtype, &Device::Cpu)?,
        };
        for share in shares.iter() {
            share.add_rows_to(&total)?;
        }
        Ok(total)
    }
}

impl Share {
    const fn is_rows(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }

    /// The share of a product, of shape `shape`.
    fn product(&self, shape: &Shape) -> Result<Option<Tensor>> {
        let Self::Product {
            left,
            gradient,
            is_transposed,
        } = self
        else {
            return Ok(None);
        };
        let share = if *is_transposed {
            gradient.t()?.matmul(left)?.t()?
        } else {
            left.t()?.matmul(gradient)?
        };
        // What is transposed would be copied for nothing.
        let is_in_shape = share.shape() == shape;
        let share = if is_in_shape {
            share
        } else {
            share.reshape(shape)?
        };
        Ok(Some(share))
    }

    fn add_rows_to(&self, total: &Tensor) -> Result<()> {
        let Self::Rows { indices, gradient } = self else {
            return Ok(());
        };
        let indices = indices.unsqueeze(1)?.broadcast_as(gradient.shape())?;
        total.scatter_add_set(&indices.contiguous()?, gradient, 0)
    }
}

/// A product by a matrix. Candle's own would want the matrix in the precision of the run, and would work out its gradient
/// whether or not somebody wants it.
struct ByMatrix {
    product: Tensor,
    matrix: Matrix,
}

impl CustomOp1 for ByMatrix {
    fn name(&self) -> &'static str {
        "product by a matrix"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (storage, layout) = self.product.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            Storage::Cuda(_) | Storage::Metal(_) => bail!("not on the CPU"),
        }
    }

    fn bwd(&self, left: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Matrix { weight, shares } = &self.matrix;
        let gradient = gradient.detach();
        if let Some(shares) = shares {
            shares.add(Share::Product {
                left: left.detach(),
                gradient: gradient.clone(),
                is_transposed: shares.lies == Lies::AsStored && weight.is_transposed(),
            });
        }
        product(&gradient, &weight.t()?).map(Some)
    }
}

/// Rows of a table, which show their gradient on the way back.
struct Rows {
    indices: Tensor,
    shares: Shares,
}

impl CustomOp1 for Rows {
    fn name(&self) -> &'static str {
        "rows of a table"
    }

    fn cpu_fwd(&self, rows: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((rows.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.shares.add(Share::Rows {
            indices: self.indices.clone(),
            gradient: gradient.detach().contiguous()?,
        });
        Ok(Some(gradient.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(shape: impl Into<Shape>) -> Tensor {
        Tensor::randn(0.0, 1.0, shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The kernel sums what lies in another order in memory in another order.
    fn assert_close(found: &Tensor, expected: &Tensor) {
        for (found, expected) in values(found).iter().zip(values(expected)) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn a_matrix_of_another_precision_is_taken_in_that_of_the_run() {
        for (left, shape) in [
            (vec![4, 3], vec![3, 5]),
            (vec![4, 700], vec![700, 3000]),
            (vec![3, 4, 300], vec![3, 300, 200]),
            (vec![3, 4, 0], vec![3, 0, 2]),
            (vec![4, 0], vec![0, 2]),
        ] {
            let narrow = noise(shape).to_dtype(DType::F32).unwrap();
            let transposed = narrow.t().unwrap().contiguous().unwrap().t().unwrap();
            let left = noise(left);
            let expected = left.matmul(&narrow.to_dtype(DType::F64).unwrap()).unwrap();
            for stored in [narrow, transposed] {
                let found = Matrix::new(stored.into(), None)
                    .times(&left, Order::Whole)
                    .unwrap();
                let error = (found - &expected)
                    .unwrap()
                    .abs()
                    .unwrap()
                    .max_all()
                    .unwrap();
                assert!(error.to_scalar::<f64>().unwrap() < 1e-12);
            }
        }
    }

    #[test]
    fn gradients_are_those_of_candles_own_product() {
        let weight = noise((4, 3));
        let stored = Var::from_tensor(&weight).unwrap();
        let left = Var::from_tensor(&noise((2, 4))).unwrap();
        let direction = noise((2, 3));
        let differentiated = |product: Tensor| {
            let sum = (product * &direction).unwrap().sum_all().unwrap();
            sum.backward().unwrap()
        };
        let expected = differentiated(left.matmul(&stored).unwrap());
        let transposed = weight.t().unwrap().contiguous().unwrap().t().unwrap();
        for (kept, lies) in [
            (weight, Lies::AsStored),
            (transposed.clone(), Lies::AsStored),
            (transposed, Lies::RowByRow),
        ] {
            let weight = Weight::from(kept);
            let shares = Shares::of(&weight, lies);
            let matrix = Matrix::new(weight, Some(shares.clone()));
            let found = differentiated(matrix.times(&left, Order::Whole).unwrap());
            let total = shares.total(None, DType::F64).unwrap();
            assert!(lies == Lies::AsStored || total.is_contiguous());
            assert_close(found.get(&left).unwrap(), expected.get(&left).unwrap());
            assert_close(&total, expected.get(&stored).unwrap());
        }
    }

    #[test]
    fn rows_that_are_taken_twice_have_both_gradients() {
        let table = Weight::from(noise((4, 2)).to_dtype(DType::F32).unwrap());
        let shares = Shares::of(&table, Lies::AsStored);
        let matrix = Matrix::new(table, Some(shares.clone()));
        let indices = Tensor::new(&[2_u32, 0, 2], &Device::Cpu).unwrap();
        let leaf = |rows: Tensor| Ok(Var::from_tensor(&rows)?.into_inner());
        let rows = matrix.rows(&indices, DType::F64, leaf).unwrap();
        rows.sum_all().unwrap().backward().unwrap();
        for _ in 0..2 {
            let sum = Tensor::ones((4, 2), DType::F64, &Device::Cpu).unwrap();
            let total = shares.total(Some(sum), DType::F64).unwrap();
            assert_eq!(values(&total), [2.0, 2.0, 1.0, 1.0, 3.0, 3.0, 1.0, 1.0]);
        }
    }
}
