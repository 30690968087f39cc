//! The three steps of a norm, so that a hook fits between them.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType,
};
use rayon::prelude::*;
use tlbench_sdk::spec::NormKind;

use super::{CHUNK, elements, in_precision, storage};

/// `sqrt(var(x) + eps)`, or `sqrt(mean(x^2) + eps)`: `[.., width]` to `[.., 1]`.
pub(crate) fn norm_scale(x: &Tensor, kind: NormKind, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Scale { kind, eps })
}

/// `(x - mean?) / scale`.
pub(crate) fn normalize(x: &Tensor, scale: &Tensor, kind: NormKind) -> Result<Tensor> {
    x.contiguous()?
        .apply_op2(&scale.contiguous()?, Normalize { kind })
}

/// `x * gain + bias` along the last dimension.
pub(crate) fn scale_and_shift(x: &Tensor, gain: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let x = x.contiguous()?;
    match bias {
        Some(bias) => x.apply_op3(&gain.contiguous()?, &bias.contiguous()?, ScaleAndShift),
        None => x.broadcast_mul(gain),
    }
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
        let scales = x.chunks(width).map(|row| {
            let mean = mean_of(row, self.kind);
            let square =
                row.iter().map(|v| (v.to_f64() - mean).powi(2)).sum::<f64>() / width as f64;
            T::from_f64((square + self.eps).sqrt())
        });
        Ok(storage(scales.collect::<Vec<T>>(), &Shape::from(dims)))
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
            for ((row, out), scale) in values.chunks(width).zip(out.chunks_mut(width)).zip(scales) {
                let (mean, scale) = (mean_of(row, kind), scale.to_f64());
                for (out, value) in out.iter_mut().zip(row) {
                    *out = T::from_f64((value.to_f64() - mean) / scale);
                }
            }
            Ok(storage(out, x_at.shape()))
        }
        in_precision!(x, run(self.kind, (x, x_at), (scale, scale_at)))
    }
}

struct ScaleAndShift;

impl CustomOp3 for ScaleAndShift {
    fn name(&self) -> &'static str {
        "scale-and-shift"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        gain: &CpuStorage,
        gain_at: &Layout,
        bias: &CpuStorage,
        bias_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        fn run<T: WithDType>(
            (x, x_at): (&CpuStorage, &Layout),
            (gain, gain_at): (&CpuStorage, &Layout),
            (bias, bias_at): (&CpuStorage, &Layout),
        ) -> Result<(CpuStorage, Shape)> {
            let values = elements::<T>(x, x_at)?;
            let (gain, bias) = (elements::<T>(gain, gain_at)?, elements::<T>(bias, bias_at)?);
            let width = gain.len().max(1);
            let mut out = vec![T::from_f64(0.0); values.len()];
            let rows = (CHUNK / width).max(1) * width;
            out.par_chunks_mut(rows)
                .zip(values.par_chunks(rows))
                .for_each(|(out, values)| {
                    for (index, (out, value)) in out.iter_mut().zip(values).enumerate() {
                        let channel = index % width;
                        *out = *value * gain[channel] + bias[channel];
                    }
                });
            Ok(storage(out, x_at.shape()))
        }
        in_precision!(x, run((x, x_at), (gain, gain_at), (bias, bias_at)))
    }
}
