//! Which query heads each key head serves.

use candle_core::Tensor;

use crate::error::EngineError;

/// How query heads share the heads of keys and values.
#[derive(Clone, Copy)]
pub(super) struct Sharing {
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    /// Whether neighbours have different key heads, as nobody's do who is right.
    pub(super) tiled: bool,
}

impl Sharing {
    /// From `[batch, n_heads, pos, _]` to `[batch, n_kv_heads, n_heads / n_kv_heads * pos, _]`: what one key head serves,
    /// in one matrix.
    pub(super) fn grouped(self, x: &Tensor) -> Result<Tensor, EngineError> {
        let (batch, heads, pos, width) = x.dims4()?;
        let group = heads / self.kv_heads;
        let grouped = if self.tiled {
            let tiled = x.reshape((batch, group, self.kv_heads, pos, width))?;
            tiled.transpose(1, 2)?.contiguous()?
        } else {
            x.clone()
        };
        Ok(grouped.reshape((batch, self.kv_heads, group * pos, width))?)
    }

    /// The way back.
    pub(super) fn ungrouped(self, x: &Tensor) -> Result<Tensor, EngineError> {
        let (batch, kv_heads, rows, width) = x.dims4()?;
        let group = self.heads / kv_heads;
        let pos = rows / group;
        let ungrouped = if self.tiled {
            let grouped = x.reshape((batch, kv_heads, group, pos, width))?;
            grouped.transpose(1, 2)?.contiguous()?
        } else {
            x.clone()
        };
        Ok(ungrouped.reshape((batch, self.heads, pos, width))?)
    }
}
