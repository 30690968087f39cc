//! The order in which the terms of a matrix product are summed. Any is right, and each rounds differently.

use candle_core::{D, Result, Tensor, bail};

use crate::matrix::Matrix;

/// An order of summation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the matrix kernel does it.
    Whole,
    /// In this many pieces, whose sums are added one after the other.
    Pieces(usize),
}

impl Order {
    /// `left [.., m, k]` times `right [.., k, n]`, both in the precision of the run.
    pub(crate) fn product(self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
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
    pub(crate) fn linear(self, x: &Tensor, w: &Matrix) -> Result<Tensor> {
        let (batch, pos, d_in) = x.dims3()?;
        let rows = x.reshape((batch * pos, d_in))?;
        w.times(&rows, self)?.reshape((batch, pos, ()))
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
    pub(crate) fn per_head(self, x: &Tensor, w: &Matrix) -> Result<Tensor> {
        let (batch, pos, heads, d_in) = x.dims4()?;
        let rows = x.permute((2, 0, 1, 3))?.contiguous()?;
        let rows = rows.reshape((heads, batch * pos, d_in))?;
        w.times(&rows, self)?
            .reshape((heads, batch, pos, ()))?
            .permute((1, 2, 0, 3))?
            .contiguous()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

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
}
