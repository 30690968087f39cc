//! A smooth bound.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::kernel::Real;
use super::{Kernel, elements, fill_rows, in_precision, run_kernel, storage};

/// `cap * tanh(x / cap)`.
pub(crate) fn softcap(x: &Tensor, cap: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Softcap(cap))
}

struct Softcap(f64);

impl CustomOp1 for Softcap {
    fn name(&self) -> &'static str {
        "softcap"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(cap: f64, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            let mut out = elements::<T>(x, layout)?.to_vec();
            fill_rows(&mut out, 1, |_, out| {
                out[0] = T::from_f64((out[0].to_f64() / cap).tanh() * cap);
            });
            Ok(storage(out, layout.shape()))
        }
        in_precision!(x, run(self.0, x, layout))
    }

    fn bwd(&self, _: &Tensor, capped: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_kernel(&SoftcapBackward(self.0), [capped, grad], grad.dims()).map(Some)
    }
}

/// `grad (1 - tanh^2)`, from the capped value.
struct SoftcapBackward(f64);

impl Kernel<2> for SoftcapBackward {
    fn run<T: Real>(&self, [capped, grad]: [&[T]; 2]) -> Vec<T> {
        let mut out = grad.to_vec();
        fill_rows(&mut out, 1, |index, out| {
            let tanh = capped[index].to_f64() / self.0;
            out[0] = T::from_f64(out[0].to_f64() * (1.0 - tanh * tanh));
        });
        out
    }
}
