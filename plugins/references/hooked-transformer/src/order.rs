//! The order in which the terms of a matrix product are summed. Any is right, and each rounds differently.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Storage, Tensor, bail};

/// An order of summation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the matrix kernel does it.
    Whole,
    /// In this many pieces, whose sums are added one after the other.
    Pieces(usize),
}

impl Order {
    /// `left [.., m, k]` times `right [.., k, n]`.
    pub(crate) fn product(self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        if left.track_op() && !right.track_op() {
            let product = self.sums(&left.detach(), right)?;
            let right = right.clone();
            return left.apply_op1(ByConstant { product, right });
        }
        self.sums(left, right)
    }

    fn sums(self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        let k = left.dim(D::Minus1)?;
        let pieces = match self {
            Self::Whole => 1,
            Self::Pieces(pieces) => pieces.clamp(1, k.max(1)),
        };
        if pieces == 1 {
            return left.matmul(right);
        }
        let product = |piece: usize| {
            let (start, end) = (piece * k / pieces, (piece + 1) * k / pieces);
            let left = left.narrow(D::Minus1, start, end - start)?.contiguous()?;
            let right = right.narrow(D::Minus2, start, end - start)?.contiguous()?;
            left.matmul(&right)
        };
        (1..pieces).try_fold(product(0)?, |sum, piece| sum + product(piece)?)
    }

    /// `x [batch, pos, d_in]` times `w [d_in, d_out]`.
    pub(crate) fn linear(self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        let (batch, pos, d_in) = x.dims3()?;
        let rows = x.reshape((batch * pos, d_in))?;
        self.product(&rows, w)?.reshape((batch, pos, w.dim(1)?))
    }

    /// The sum of `parts`: from the first on, or from the last.
    pub(crate) fn sum(self, parts: &[Tensor]) -> Result<Tensor> {
        let sum = |sum: Option<Tensor>, part: &Tensor| match sum {
            Some(sum) => (sum + part).map(Some),
            None => Ok(Some(part.clone())),
        };
        let sum = match self {
            Self::Whole => parts.iter().try_fold(None, sum)?,
            Self::Pieces(_) => parts.iter().rev().try_fold(None, sum)?,
        };
        sum.map_or_else(|| bail!("a sum of nothing"), Ok)
    }

    /// `x [batch, pos, head, d_in]` times `w [head, d_in, d_out]`, each head by its own matrix.
    pub(crate) fn per_head(self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        let (batch, pos, heads, d_in) = x.dims4()?;
        let rows = x.permute((2, 0, 1, 3))?.contiguous()?;
        let rows = rows.reshape((heads, batch * pos, d_in))?;
        let product = self.product(&rows, w)?;
        product
            .reshape((heads, batch, pos, w.dim(2)?))?
            .permute((1, 2, 0, 3))?
            .contiguous()
    }
}

/// A product by a constant. Candle's own works out the gradients of both sides: with every weight on the right one, as
/// many as the model has, three times over.
struct ByConstant {
    product: Tensor,
    right: Tensor,
}

impl CustomOp1 for ByConstant {
    fn name(&self) -> &'static str {
        "product by a constant"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (storage, layout) = self.product.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            Storage::Cuda(_) | Storage::Metal(_) => bail!("not on the CPU"),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.matmul(&self.right.t()?).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn pieces_sum_to_the_whole() {
        let counting = |shape: (usize, usize)| {
            let numbers = Tensor::arange(0.0, (shape.0 * shape.1) as f64, &Device::Cpu).unwrap();
            numbers.reshape(shape).unwrap()
        };
        let (left, right) = (counting((2, 7)), counting((7, 3)));
        let values = |order: Order| {
            order
                .product(&left, &right)
                .unwrap()
                .to_vec2::<f64>()
                .unwrap()
        };
        for pieces in [1, 2, 3, 7, 100] {
            assert_eq!(values(Order::Pieces(pieces)), values(Order::Whole));
        }
    }

    #[test]
    fn a_constant_on_the_right_changes_no_gradient() {
        let shapes = [((2, 4), (4, 3)), ((5, 7), (7, 2))];
        let noise = |shape| Tensor::randn(0.0, 1.0, shape, &Device::Cpu).unwrap();
        for (left, right) in shapes {
            let (left, right, weight) = (
                Var::from_tensor(&noise(left)).unwrap(),
                Var::from_tensor(&noise(right)).unwrap(),
                noise((left.0, right.1)),
            );
            let gradient = |right: &Tensor| {
                let product = Order::Whole.product(&left, right).unwrap();
                let sum = (product * &weight).unwrap().sum_all().unwrap();
                let store = sum.backward().unwrap();
                let gradient = store.get(&left).unwrap().to_vec2::<f64>().unwrap();
                (gradient, store.get(right).is_some())
            };
            let ((of_variable, true), (of_constant, false)) =
                (gradient(&right), gradient(&right.detach()))
            else {
                panic!("the right side has a gradient if it is a variable");
            };
            assert_eq!(of_constant, of_variable);
        }
    }
}
