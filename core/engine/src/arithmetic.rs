//! How products are summed. A healthy implementation may sum in any order, so the order is a setting.

use candle_core::{Result, Tensor};

/// The order in which the terms of a product are summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// As the matrix kernel does it.
    #[default]
    Native,
    /// The contraction is cut into this many pieces, which are summed one after the other.
    SplitSums(usize),
}

impl Arithmetic {
    /// `lhs [.., m, k]` times `rhs [.., k, n]`.
    pub(crate) fn matmul(self, lhs: &Tensor, rhs: &Tensor) -> Result<Tensor> {
        let k = lhs.dim(candle_core::D::Minus1)?;
        let pieces = match self {
            Self::Native => 1,
            Self::SplitSums(pieces) => pieces.clamp(1, k.max(1)),
        };
        if pieces == 1 {
            return lhs.matmul(rhs);
        }
        let bounds: Vec<usize> = (0..=pieces).map(|piece| piece * k / pieces).collect();
        let mut sum: Option<Tensor> = None;
        for piece in bounds.windows(2) {
            let (start, len) = (piece[0], piece[1] - piece[0]);
            let product = lhs
                .narrow(candle_core::D::Minus1, start, len)?
                .contiguous()?
                .matmul(
                    &rhs.narrow(candle_core::D::Minus2, start, len)?
                        .contiguous()?,
                )?;
            sum = Some(match sum {
                None => product,
                Some(sum) => (sum + product)?,
            });
        }
        sum.map_or_else(|| lhs.matmul(rhs), Ok)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn pieces_sum_to_the_whole() {
        let lhs = Tensor::arange(0_f64, 14.0, &Device::Cpu)
            .unwrap()
            .reshape((2, 7))
            .unwrap();
        let rhs = Tensor::arange(0_f64, 21.0, &Device::Cpu)
            .unwrap()
            .reshape((7, 3))
            .unwrap();
        let whole = Arithmetic::Native.matmul(&lhs, &rhs).unwrap();
        for pieces in [1, 2, 3, 7, 100] {
            let split = Arithmetic::SplitSums(pieces).matmul(&lhs, &rhs).unwrap();
            assert_eq!(
                split.to_vec2::<f64>().unwrap(),
                whole.to_vec2::<f64>().unwrap()
            );
        }
        assert_eq!(whole.dtype(), DType::F64);
    }
}
