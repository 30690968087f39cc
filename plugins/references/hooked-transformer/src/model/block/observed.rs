//! Copies of which nobody asks more than their gradients.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cpu_backend::CpuDevice;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::super::norm::Norm;
use crate::error::Result;

/// `shared` in value, and with the derivative of what `norm` makes of `copy` beside its own. One copy per head is as large as
/// all of them, so what the norm makes of each is not worked out: it is what is shared.
pub(super) fn observed(shared: &Tensor, copy: &Tensor, norm: Option<&Norm>) -> Result<Tensor> {
    let norm = norm.map(Norm::detached);
    Ok(shared.apply_op2(copy, Observed { norm })?)
}

struct Observed {
    norm: Option<Norm>,
}

impl CustomOp2 for Observed {
    fn name(&self) -> &'static str {
        "observed"
    }

    fn cpu_fwd(
        &self,
        shared: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let shape = layout.shape().clone();
        let mut value = CpuDevice.zeros_impl(&shape, shared.dtype())?;
        shared.copy_strided_src(&mut value, 0, layout)?;
        Ok((value, shape))
    }

    fn bwd(
        &self,
        _: &Tensor,
        copy: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let by_copy = match &self.norm {
            Some(norm) => norm.pulled_back(&copy.detach(), gradient)?,
            None => gradient.clone(),
        };
        Ok((Some(gradient.clone()), Some(by_copy)))
    }
}
