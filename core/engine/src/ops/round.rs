//! Rounding to narrower types, whose values f32 holds exactly.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::{CHUNK, elements, storage};

/// A type that is narrower than f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Narrow {
    Bf16,
    F16,
}

/// Each element of `x` rounded to the nearest value of `narrow`, ties to even; in f32.
pub(crate) fn round(x: &Tensor, narrow: Narrow) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Round(narrow))
}

struct Round(Narrow);

impl CustomOp1 for Round {
    fn name(&self) -> &'static str {
        "round"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let function: fn(f32) -> f32 = match self.0 {
            Narrow::Bf16 => |value| bf16::from_f32(value).to_f32(),
            Narrow::F16 => |value| f16::from_f32(value).to_f32(),
        };
        let values = elements::<f32>(x, layout)?;
        let mut out = vec![0.0; values.len()];
        out.par_chunks_mut(CHUNK)
            .zip(values.par_chunks(CHUNK))
            .for_each(|(out, values)| {
                for (out, &value) in out.iter_mut().zip(values) {
                    *out = function(value);
                }
            });
        Ok(storage(out, layout.shape()))
    }

    /// Straight through: torch stores a gradient in the type of its value, so it is rounded as that was.
    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        round(grad, self.0).map(Some)
    }
}
