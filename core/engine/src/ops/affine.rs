//! Gains and biases.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::kernel::Real;
use super::{Kernel, elements, fill_rows, in_precision, run_kernel, storage};
use crate::tape::Operand;

/// `x * gain + bias` along the last dimension.
pub(crate) fn scale_and_shift(
    x: &Tensor,
    gain: Option<Operand>,
    bias: Option<Operand>,
) -> Result<Tensor> {
    if gain.is_none() && bias.is_none() {
        return Ok(x.clone());
    }
    x.contiguous()?.apply_op1(ScaleAndShift {
        gain: gain.map(Operand::contiguous).transpose()?,
        bias: bias.map(Operand::contiguous).transpose()?,
    })
}

struct ScaleAndShift {
    gain: Option<Operand>,
    bias: Option<Operand>,
}

impl CustomOp1 for ScaleAndShift {
    fn name(&self) -> &'static str {
        "scale-and-shift"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: WithDType>(
            op: &ScaleAndShift,
            x: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let values = elements::<T>(x, layout)?;
            let width = layout.dims().last().copied().unwrap_or(1);
            let channels = |operand: &Option<Operand>| match operand {
                Some(operand) => operand.values.flatten_all()?.to_vec1::<T>().map(Some),
                None => Ok(None),
            };
            let (gain, bias) = (channels(&op.gain)?, channels(&op.bias)?);
            for channels in [&gain, &bias].into_iter().flatten() {
                if channels.len() != width {
                    return Err(Error::Msg(format!(
                        "{} channels for a width of {width}",
                        channels.len()
                    )));
                }
            }
            let mut out = values.to_vec();
            fill_rows(&mut out, width, |_, row| {
                if let Some(gain) = &gain {
                    row.iter_mut()
                        .zip(gain)
                        .for_each(|(out, gain)| *out *= *gain);
                }
                if let Some(bias) = &bias {
                    row.iter_mut()
                        .zip(bias)
                        .for_each(|(out, bias)| *out += *bias);
                }
            });
            Ok(storage(out, layout.shape()))
        }
        in_precision!(x, run(self, x, layout))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        if let Some((bias, sink)) = self.bias.as_ref().and_then(Operand::wanted) {
            sink.add(&run_kernel(&sum_rows(bias), [grad], bias.dims())?);
        }
        let Some(gain) = &self.gain else {
            return Ok(Some(grad.clone()));
        };
        if let Some((gain, sink)) = gain.wanted() {
            sink.add(&run_kernel(&sum_rows(gain), [x, grad], gain.dims())?);
        }
        run_kernel(&Scaled, [grad, &gain.values], x.dims()).map(Some)
    }
}

/// Sums over all rows, one for each channel, in f64.
struct SumRows {
    width: usize,
}

fn sum_rows(channels: &Tensor) -> SumRows {
    SumRows {
        width: channels.elem_count(),
    }
}

impl SumRows {
    fn sum<T: Real>(&self, rows: usize, element: impl Fn(usize) -> f64 + Sync) -> Vec<T> {
        const TOGETHER: usize = 64;
        let mut out = vec![T::from_f64(0.0); self.width];
        out.par_chunks_mut(TOGETHER)
            .enumerate()
            .for_each(|(block, out)| {
                let mut sums = [0.0; TOGETHER];
                for row in 0..rows {
                    let start = row * self.width + block * TOGETHER;
                    for (index, sum) in sums[..out.len()].iter_mut().enumerate() {
                        *sum += element(start + index);
                    }
                }
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = T::from_f64(sum);
                }
            });
        out
    }
}

impl Kernel<1> for SumRows {
    fn run<T: Real>(&self, [grad]: [&[T]; 1]) -> Vec<T> {
        self.sum(grad.len() / self.width.max(1), |at| grad[at].to_f64())
    }
}

impl Kernel<2> for SumRows {
    fn run<T: Real>(&self, [x, grad]: [&[T]; 2]) -> Vec<T> {
        self.sum(grad.len() / self.width.max(1), |at| {
            x[at].to_f64() * grad[at].to_f64()
        })
    }
}

/// Rows times one factor for each channel.
struct Scaled;

impl Kernel<2> for Scaled {
    fn run<T: Real>(&self, [rows, factors]: [&[T]; 2]) -> Vec<T> {
        let mut out = rows.to_vec();
        fill_rows(&mut out, factors.len(), |_, row| {
            row.iter_mut()
                .zip(factors)
                .for_each(|(out, factor)| *out *= *factor);
        });
        out
    }
}
