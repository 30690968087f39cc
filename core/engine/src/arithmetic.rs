//! How products are summed. A healthy implementation may sum in any order, so the order is a setting.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Error, Layout, Result, Tensor};

use crate::ops;
use crate::tape::Operand;

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
    /// `lhs [.., m, k]` times `rhs [.., k, n]`, two values of the run.
    pub(crate) fn matmul(self, lhs: &Tensor, rhs: &Tensor) -> Result<Tensor> {
        ops::product(lhs, Operand::constant(rhs.clone()), self)
    }

    /// The same of elements in memory, of shapes that fit.
    pub(crate) fn product(
        self,
        (lhs, lhs_at): (&CpuStorage, &Layout),
        (rhs, rhs_at): (&CpuStorage, &Layout),
    ) -> Result<CpuStorage> {
        let rank = lhs_at.dims().len();
        let (&[m, k], n) = (
            &[lhs_at.dims()[rank - 2], lhs_at.dims()[rank - 1]],
            rhs_at.dims()[rank - 1],
        );
        let batch = lhs_at.dims()[..rank - 2].iter().product();
        let pieces = match self {
            Self::Native => 1,
            Self::SplitSums(pieces) => pieces.clamp(1, k.max(1)),
        };
        let mut products = (0..pieces).map(|piece| {
            let (start, end) = (piece * k / pieces, (piece + 1) * k / pieces);
            let lhs_at = lhs_at.narrow(rank - 1, start, end - start)?;
            let rhs_at = rhs_at.narrow(rank - 2, start, end - start)?;
            lhs.matmul(rhs, (batch, m, n, end - start), &lhs_at, &rhs_at)
        });
        let first = products
            .next()
            .unwrap_or_else(|| Err(Error::Msg("no piece".to_owned())))?;
        products.try_fold(first, |sum, product| add(sum, &product?))
    }
}

fn add(sum: CpuStorage, terms: &CpuStorage) -> Result<CpuStorage> {
    match (sum, terms) {
        (CpuStorage::F32(mut sum), CpuStorage::F32(terms)) => {
            sum.iter_mut()
                .zip(terms)
                .for_each(|(sum, term)| *sum += term);
            Ok(CpuStorage::F32(sum))
        }
        (CpuStorage::F64(mut sum), CpuStorage::F64(terms)) => {
            sum.iter_mut()
                .zip(terms)
                .for_each(|(sum, term)| *sum += term);
            Ok(CpuStorage::F64(sum))
        }
        _ => Err(Error::Msg(
            "a product that is neither f32 nor f64".to_owned(),
        )),
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
