//! Fused element-wise operations. candle's own either lack a backward without saying so, or pass over memory many times.
//!
//! Each is a custom operation without a backward of its own yet, so asking for a gradient through one is an error.

mod activation;
mod norm;
mod round;
mod scores;

pub(crate) use activation::activate;
pub(crate) use norm::{norm_scale, normalize, scale_and_shift};
pub(crate) use round::{Narrow, round};
pub(crate) use scores::{mask_scores, softmax};

use candle_core::{CpuStorage, Error, Layout, Result, Shape, WithDType};

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

/// How many elements are worth a thread.
const CHUNK: usize = 1 << 13;
