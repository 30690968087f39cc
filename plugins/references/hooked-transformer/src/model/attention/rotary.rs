//! Rotary position embedding ([Su et al. 2021](https://arxiv.org/abs/2104.09864)).

use candle_core::{D, DType, Device, Tensor};
use tlbench_sdk::spec::{Pairing, RotarySpec};

use super::frequencies::{attention_factor, frequencies};
use crate::error::Result;
use crate::run::Run;

/// Turns pairs of channels by angles that grow with the position.
pub(super) struct Rotary {
    spec: RotarySpec,
}

/// Cosine and sine of each pair's angle, `[batch, pos, 1, pair]`.
pub(super) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    pub(super) fn new(spec: &RotarySpec) -> Self {
        Self { spec: spec.clone() }
    }

    /// Those of the run's piece, which is a call of its own: a scaling by length sees the positions up to its last.
    pub(super) fn angles(&self, run: &Run<'_, '_>, dtype: DType) -> Result<Angles> {
        let frequencies = frequencies(&self.spec, run.inputs.length(&run.piece), dtype);
        let pairs = frequencies.len();
        let frequencies = Tensor::from_vec(frequencies, pairs, &Device::Cpu)?.to_dtype(dtype)?;
        let positions = run.inputs.position_column(&run.piece)?.to_dtype(dtype)?;
        let angles = positions.broadcast_mul(&frequencies)?;
        let factor = attention_factor(&self.spec.scaling);
        Ok(Angles {
            cos: (angles.cos()? * factor)?,
            sin: (angles.sin()? * factor)?,
        })
    }

    /// `heads [batch, pos, head, d_head]`, of which the leading channels are turned.
    pub(super) fn rotate(&self, heads: &Tensor, angles: &Angles) -> Result<Tensor> {
        let (dim, d_head) = (self.spec.dim, heads.dim(D::Minus1)?);
        let [first, second] = self.pairs(&heads.narrow(D::Minus1, 0, dim)?)?;
        let Angles { cos, sin } = angles;
        let turned = [
            (first.broadcast_mul(cos)? - second.broadcast_mul(sin)?)?,
            (second.broadcast_mul(cos)? + first.broadcast_mul(sin)?)?,
        ];
        let turned = self.joined(&turned)?;
        if dim == d_head {
            return Ok(turned);
        }
        let rest = heads.narrow(D::Minus1, dim, d_head - dim)?;
        Ok(Tensor::cat(&[turned, rest], D::Minus1)?)
    }

    /// The first and the second channel of each pair.
    fn pairs(&self, x: &Tensor) -> Result<[Tensor; 2]> {
        let half = self.spec.dim / 2;
        Ok(match self.spec.pairing {
            Pairing::Half => [
                x.narrow(D::Minus1, 0, half)?,
                x.narrow(D::Minus1, half, half)?,
            ],
            Pairing::Interleaved => {
                let (batch, pos, heads, _) = x.dims4()?;
                let pairs = x.contiguous()?.reshape((batch, pos, heads, half, 2))?;
                let channel = |nth| pairs.narrow(D::Minus1, nth, 1)?.squeeze(D::Minus1);
                [channel(0)?, channel(1)?]
            }
        })
    }

    fn joined(&self, pairs: &[Tensor; 2]) -> Result<Tensor> {
        Ok(match self.spec.pairing {
            Pairing::Half => Tensor::cat(pairs, D::Minus1)?,
            Pairing::Interleaved => Tensor::stack(pairs, D::Minus1)?.flatten_from(3)?,
        })
    }
}
