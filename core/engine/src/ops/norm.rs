//! The two steps of a norm before its gain, so that a hook fits between them.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType};
use tlbench_sdk::spec::NormKind;

use super::kernel::Real;
use super::{Kernel, elements, fill_rows, in_precision, run_kernel, storage};

/// `sqrt(var(x) + eps)`, or `sqrt(mean(x^2) + eps)`: `[.., width]` to `[.., 1]`.
pub(crate) fn norm_scale(x: &Tensor, kind: NormKind, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Scale { kind, eps })
}

/// `(x - mean?) / scale`.
pub(crate) fn normalize(x: &Tensor, scale: &Tensor, kind: NormKind) -> Result<Tensor> {
    x.contiguous()?
        .apply_op2(&scale.contiguous()?, Normalize { kind })
}

struct Scale {
    kind: NormKind,
    eps: f64,
}

/// Sums run in f64: they are few, and the subject's error should be its own.
fn mean_of<T: WithDType>(row: &[T], kind: NormKind) -> f64 {
    match kind {
        NormKind::LayerNorm => row.iter().map(|v| v.to_f64()).sum::<f64>() / row.len() as f64,
        NormKind::RmsNorm => 0.0,
    }
}

impl Scale {
    fn run<T: WithDType>(
        &self,
        storage_in: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = elements::<T>(storage_in, layout)?;
        let mut dims = layout.dims().to_vec();
        let width = dims.last().copied().unwrap_or(1).max(1);
        if let Some(last) = dims.last_mut() {
            *last = 1;
        }
        let mut scales = vec![T::from_f64(0.0); x.len() / width];
        fill_rows(&mut scales, 1, |index, scale| {
            let row = &x[index * width..][..width];
            let mean = mean_of(row, self.kind);
            let square =
                row.iter().map(|v| (v.to_f64() - mean).powi(2)).sum::<f64>() / width as f64;
            scale[0] = T::from_f64((square + self.eps).sqrt());
        });
        Ok(storage(scales, &Shape::from(dims)))
    }
}

impl CustomOp1 for Scale {
    fn name(&self) -> &'static str {
        "norm-scale"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: WithDType>(
            op: &Scale,
            x: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            op.run::<T>(x, layout)
        }
        in_precision!(x, run(self, x, layout))
    }

    fn bwd(&self, x: &Tensor, scale: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        run_kernel(&ScaleBackward(self.kind), [x, scale, grad], x.dims()).map(Some)
    }
}

/// `grad (x - mean?) / (width scale)`: what the mean adds sums to nothing.
struct ScaleBackward(NormKind);

impl Kernel<3> for ScaleBackward {
    fn run<T: Real>(&self, [x, scale, grad]: [&[T]; 3]) -> Vec<T> {
        let width = x.len() / scale.len().max(1);
        let mut out = vec![T::from_f64(0.0); x.len()];
        fill_rows(&mut out, width, |index, out| {
            let row = &x[index * width..][..width];
            let mean = mean_of(row, self.0);
            let factor = grad[index].to_f64() / (width as f64 * scale[index].to_f64());
            for (out, value) in out.iter_mut().zip(row) {
                *out = T::from_f64((value.to_f64() - mean) * factor);
            }
        });
        out
    }
}

struct Normalize {
    kind: NormKind,
}

impl CustomOp2 for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        scale: &CpuStorage,
        scale_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        fn run<T: WithDType>(
            kind: NormKind,
            (x, x_at): (&CpuStorage, &Layout),
            (scale, scale_at): (&CpuStorage, &Layout),
        ) -> Result<(CpuStorage, Shape)> {
            let (values, scales) = (elements::<T>(x, x_at)?, elements::<T>(scale, scale_at)?);
            let width = x_at.dims().last().copied().unwrap_or(1).max(1);
            let mut out = vec![T::from_f64(0.0); values.len()];
            fill_rows(&mut out, width, |index, out| {
                let row = &values[index * width..][..width];
                let (mean, scale) = (mean_of(row, kind), scales[index].to_f64());
                for (out, value) in out.iter_mut().zip(row) {
                    *out = T::from_f64((value.to_f64() - mean) / scale);
                }
            });
            Ok(storage(out, x_at.shape()))
        }
        in_precision!(x, run(self.kind, (x, x_at), (scale, scale_at)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let kind = self.kind;
        let by_x = run_kernel(&NormalizeBackward(kind), [scale, grad], x.dims())?;
        let by_scale = run_kernel(&DivisorBackward(kind), [x, scale, grad], scale.dims())?;
        Ok((Some(by_x), Some(by_scale)))
    }
}

/// `(grad - mean(grad)?) / scale`: the gradient by what is normalized, at a fixed scale.
struct NormalizeBackward(NormKind);

impl Kernel<2> for NormalizeBackward {
    fn run<T: Real>(&self, [scale, grad]: [&[T]; 2]) -> Vec<T> {
        let width = grad.len() / scale.len().max(1);
        let mut out = vec![T::from_f64(0.0); grad.len()];
        fill_rows(&mut out, width, |index, out| {
            let grad = &grad[index * width..][..width];
            let (mean, scale) = (mean_of(grad, self.0), scale[index].to_f64());
            for (out, grad) in out.iter_mut().zip(grad) {
                *out = T::from_f64((grad.to_f64() - mean) / scale);
            }
        });
        out
    }
}

/// `-sum(grad (x - mean?)) / scale^2`: the gradient by the scale.
struct DivisorBackward(NormKind);

impl Kernel<3> for DivisorBackward {
    fn run<T: Real>(&self, [x, scale, grad]: [&[T]; 3]) -> Vec<T> {
        let width = x.len() / scale.len().max(1);
        let mut out = vec![T::from_f64(0.0); scale.len()];
        fill_rows(&mut out, 1, |index, out| {
            let (row, grad) = (
                &x[index * width..][..width],
                &grad[index * width..][..width],
            );
            let (mean, scale) = (mean_of(row, self.0), scale[index].to_f64());
            let sum: f64 = row
                .iter()
                .zip(grad)
                .map(|(value, grad)| (value.to_f64() - mean) * grad.to_f64())
                .sum();
            out[0] = T::from_f64(-sum / (scale * scale));
        });
        out
    }
}
