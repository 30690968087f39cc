//! The rotation of pairs of channels by the angle of their position.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};
use tlbench_sdk::spec::Pairing;

use super::kernel::Real;
use super::{elements, fill_rows, in_precision, storage};

/// By how much each pair is turned at each position.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    /// `[batch, pos, pairs]`, with the factor that some models put on it.
    pub(crate) cos: Tensor,
    /// Of the same shape.
    pub(crate) sin: Tensor,
    pub(crate) pairing: Pairing,
}

/// `x [batch, pos, heads, d_head]` with its leading channels turned; the others stay.
pub(crate) fn rotate(x: &Tensor, rotation: &Rotation) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Rotate(rotation.clone()))
}

struct Rotate(Rotation);

impl CustomOp1 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn run<T: Real>(
            rotation: &Rotation,
            x: &CpuStorage,
            layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            let (batch, pos, heads, d_head) = layout.shape().dims4()?;
            let pairs = rotation.pairs(batch, pos, d_head)?;
            let [cos, sin] =
                [&rotation.cos, &rotation.sin].map(|angles| angles.flatten_all()?.to_vec1::<T>());
            let (cos, sin) = (cos?, sin?);
            let mut out = elements::<T>(x, layout)?.to_vec();
            fill_rows(&mut out, d_head, |row, out| {
                let angles = row / heads * pairs..(row / heads + 1) * pairs;
                let angles = cos[angles.clone()].iter().zip(&sin[angles]);
                for (pair, (&cos, &sin)) in angles.enumerate() {
                    let (a, b) = rotation.channels(pair, pairs);
                    let (x, y) = (out[a], out[b]);
                    out[a] = x * cos - y * sin;
                    out[b] = y * cos + x * sin;
                }
            });
            Ok(storage(out, layout.shape()))
        }
        in_precision!(x, run(&self.0, x, layout))
    }

    /// The rotation by the negative angle, with the same factor.
    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Rotation {
            sin: self.0.sin.neg()?,
            ..self.0.clone()
        };
        rotate(&grad.detach(), &back).map(Some)
    }
}

impl Rotation {
    /// How many pairs there are, if they are for values of these sizes.
    fn pairs(&self, batch: usize, pos: usize, d_head: usize) -> Result<usize> {
        match *self.cos.dims() {
            [rows, columns, pairs] if (rows, columns) == (batch, pos) && 2 * pairs <= d_head => {
                Ok(pairs)
            }
            ref dims => Err(Error::Msg(format!(
                "angles {dims:?} for a batch of {batch}, {pos} positions and heads of width {d_head}"
            ))),
        }
    }

    /// The two channels of a pair.
    fn channels(&self, pair: usize, pairs: usize) -> (usize, usize) {
        match self.pairing {
            Pairing::Half => (pair, pair + pairs),
            Pairing::Interleaved => (2 * pair, 2 * pair + 1),
        }
    }
}
