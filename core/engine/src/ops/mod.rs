//! Fused element-wise operations, and products, each with its exact backward. candle's own either lack a backward without
//! saying so, or pass over memory many times, and differentiate by parameters that nobody asked for.

mod activation;
mod affine;
mod clip;
mod kernel;
mod norm;
mod product;
mod rotary;
mod round;
mod scores;
mod softcap;
mod swiglu;
#[cfg(test)]
mod tests;

pub(crate) use activation::{activate, sigmoid};
pub(crate) use affine::scale_and_shift;
pub(crate) use clip::clip;
pub(crate) use kernel::{Kernel, Real, run as run_kernel};
pub(crate) use norm::{norm_scale, normalize};
pub(crate) use product::product;
pub(crate) use rotary::{Rotation, rotate};
pub(crate) use round::{Narrow, round};
pub(crate) use scores::{Scoring, mask_scores, softmax};
pub(crate) use softcap::softcap;
pub(crate) use swiglu::clamped_swiglu;

use candle_core::{CpuStorage, Error, Layout, Result, Shape, WithDType};
use rayon::prelude::*;

/// The elements of a contiguous operand.
fn elements<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = T::cpu_storage_as_slice(storage)?;
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg("an operand that is not contiguous".into()))?;
    Ok(&all[start..end])
}

fn storage<T: WithDType>(values: Vec<T>, shape: &Shape) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.clone())
}

/// Runs a generic implementation in the operand's precision.
macro_rules! in_precision {
    ($storage:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $storage {
            candle_core::CpuStorage::F32(_) => $function::<f32>($($argument),*),
            candle_core::CpuStorage::F64(_) => $function::<f64>($($argument),*),
            _ => Err(candle_core::Error::Msg("an operand that is neither f32 nor f64".into())),
        }
    };
}
use in_precision;

/// A copy of a contiguous operand. candle's `try_clone` copies all of the memory that a view is of.
pub(crate) fn copied(values: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    fn run<T: WithDType>(values: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(storage(
            elements::<T>(values, layout)?.to_vec(),
            layout.shape(),
        ))
    }
    in_precision!(values, run(values, layout))
}

/// How many elements are worth a thread.
pub(crate) const CHUNK: usize = 1 << 13;

/// Fills `rows` of `width`, each by its number.
fn fill_rows<T: Send>(rows: &mut [T], width: usize, fill: impl Fn(usize, &mut [T]) + Sync) {
    let width = width.max(1);
    let together = (CHUNK / width).max(1);
    rows.par_chunks_mut(together * width)
        .enumerate()
        .for_each(|(block, rows)| {
            for (row, out) in rows.chunks_mut(width).enumerate() {
                fill(block * together + row, out);
            }
        });
}
