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
    /// The same, from the last term to the first.
    Backwards,
    /// The contraction is cut into this many pieces, which are summed one after the other. Sums of sums round less than
    /// one long sum does.
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
            Self::Backwards => {
                let (lhs, lhs_at) = backwards(lhs, lhs_at, rank - 1)?;
                let (rhs, rhs_at) = backwards(rhs, rhs_at, rank - 2)?;
                return lhs.matmul(&rhs, (batch, m, n, k), &lhs_at, &rhs_at);
            }
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

/// `operand` from the last element of `axis` to the first.
fn backwards(operand: &CpuStorage, at: &Layout, axis: usize) -> Result<(CpuStorage, Layout)> {
    let (contiguous, layout) = (
        operand.to_dtype(at, operand.dtype())?,
        Layout::contiguous(at.shape()),
    );
    let places = (0..at.dims()[axis] as u32).rev().collect::<Vec<u32>>();
    let places_at = Layout::contiguous(places.len());
    let reversed = contiguous.index_select(&CpuStorage::U32(places), &layout, &places_at, axis)?;
    Ok((reversed, layout))
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
    use tlbench_sdk::noise;

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
        let backwards = Arithmetic::Backwards.matmul(&lhs, &rhs).unwrap();
        assert_eq!(
            backwards.to_vec2::<f64>().unwrap(),
            whole.to_vec2::<f64>().unwrap()
        );
        assert_eq!(whole.dtype(), DType::F64);
    }

    #[test]
    fn backwards_it_rounds_as_the_kernel_does_and_in_pieces_less() {
        let operand = |seed, shape: (usize, usize)| {
            let values = noise(seed, shape.0 * shape.1);
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let (lhs, rhs) = (operand(1, (40, 96)), operand(2, (96, 40)));
        let rounded = |tensor: &Tensor| tensor.to_dtype(DType::F32).unwrap();
        let (lhs, rhs) = (rounded(&lhs), rounded(&rhs));
        let exact = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
        let truth = exact(&lhs).matmul(&exact(&rhs)).unwrap();
        let error = |order: Arithmetic| {
            let product = exact(&order.matmul(&lhs, &rhs).unwrap());
            let squares = (product - &truth).unwrap().sqr().unwrap();
            squares
                .mean_all()
                .unwrap()
                .to_scalar::<f64>()
                .unwrap()
                .sqrt()
        };
        let native = error(Arithmetic::Native);
        let relative = [Arithmetic::Backwards, Arithmetic::SplitSums(3)].map(|o| error(o) / native);
        assert!(relative[0] > 0.8 && relative[0] < 1.25, "{relative:?}");
        assert!(relative[1] < 0.8, "{relative:?}");
    }
}
