//! Matrix products.

use candle_core::{CpuStorage, CustomOp2, D, Error, Layout, Result, Shape, Tensor};

use crate::arithmetic::Arithmetic;
use crate::tape::{Operand, Sink};

/// `lhs [.., m, k]` times `rhs [.., k, n]`, differentiated by what needs it alone.
pub(crate) fn product(lhs: &Tensor, rhs: Operand, arithmetic: Arithmetic) -> Result<Tensor> {
    let operation = Product {
        arithmetic,
        sink: rhs.sink,
    };
    lhs.apply_op2(&rhs.values, operation)
}

struct Product {
    arithmetic: Arithmetic,
    /// Where the gradient of a right side that is a parameter goes.
    sink: Option<Sink>,
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        lhs: &CpuStorage,
        lhs_at: &Layout,
        rhs: &CpuStorage,
        rhs_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut shape = lhs_at.dims().to_vec();
        let fits = |rank: usize| {
            rank > 1
                && rhs_at.dims().len() == rank
                && rhs_at.dims()[..rank - 2] == shape[..rank - 2]
                && rhs_at.dims()[rank - 2] == shape[rank - 1]
        };
        if !fits(shape.len()) {
            return Err(Error::Msg(format!(
                "a product of {:?} and {:?}",
                lhs_at.dims(),
                rhs_at.dims()
            )));
        }
        if let (Some(last), Some(&n)) = (shape.last_mut(), rhs_at.dims().last()) {
            *last = n;
        }
        let product = self.arithmetic.product((lhs, lhs_at), (rhs, rhs_at))?;
        Ok((product, Shape::from(shape)))
    }

    fn bwd(
        &self,
        lhs: &Tensor,
        rhs: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let arithmetic = self.arithmetic;
        let of = move |lhs: &Tensor, rhs: &Tensor| {
            product(&lhs.detach(), Operand::constant(rhs.detach()), arithmetic)
        };
        let by_lhs = match lhs.track_op() {
            true => Some(of(grad, &rhs.t()?)?),
            false => None,
        };
        if let Some(sink) = &self.sink {
            // In the order in which the parameter is stored, so that adding it up is one pass.
            let is_transposed = rhs.stride().last() != Some(&1) && rhs.dim(D::Minus1)? > 1;
            let (lhs, grad) = (lhs.detach(), grad.detach());
            sink.add_later(move || match is_transposed {
                true => of(&grad.t()?, &lhs)?.t(),
                false => of(&lhs.t()?, &grad),
            });
        }
        let by_rhs = match rhs.track_op() {
            true => Some(of(&lhs.t()?, grad)?),
            false => None,
        };
        Ok((by_lhs, by_rhs))
    }
}
