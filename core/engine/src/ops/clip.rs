//! Clamping of values to an interval.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::kernel::Real;
use super::{Kernel, elements, in_precision, run_kernel, storage};

/// `x`, kept between `-limit` and `limit`; a NaN stays one.
pub(crate) fn clip(x: &Tensor, limit: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Clip { limit })
}

struct Clip {
    limit: f64,
}

impl CustomOp1 for Clip {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(
            limit: f64,
            x: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let clipped = |&value: &T| match value.to_f64() {
                wide if wide.abs() > limit => T::from_f64(limit.copysign(wide)),
                _ => value,
            };
            let values = elements::<T>(x, layout)?.iter().map(clipped).collect();
            Ok(storage(values, layout.shape()))
        }
        in_precision!(x, run(self.limit, x, layout))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_kernel(&ClipBackward { limit: self.limit }, [x, grad], x.dims()).map(Some)
    }
}

/// Nothing flows through what was cut off. At the limit itself everything does, as in torch.
struct ClipBackward {
    limit: f64,
}

impl Kernel<2> for ClipBackward {
    fn run<T: Real>(&self, [x, grad]: [&[T]; 2]) -> Vec<T> {
        let through = |(value, grad): (&T, &T)| match value.to_f64().abs() <= self.limit {
            true => *grad,
            false => T::from_f64(0.0),
        };
        x.iter().zip(grad).map(through).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn what_is_too_large_is_cut_off_and_a_nan_stays_one() {
        let x = Tensor::from_slice(&[-3.0_f32, -2.0, 0.5, 7.0, f32::NAN], 5, &Device::Cpu).unwrap();
        let clipped = clip(&x, 2.0).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(clipped[..4], [-2.0, -2.0, 0.5, 2.0]);
        assert!(clipped[4].is_nan());
    }
}
