//! Keys and values of the positions that have run.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::error::Result;

/// By layer, keys and values `[batch, pos, heads, d_head]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache(BTreeMap<usize, [Tensor; 2]>);

impl Cache {
    /// Adds the keys and values of new positions, and gives those of all.
    pub(crate) fn append(&mut self, layer: usize, new: [Tensor; 2]) -> Result<[Tensor; 2]> {
        let all = match self.0.get(&layer) {
            None => new,
            Some([keys, values]) => [
                Tensor::cat(&[keys, &new[0]], 1)?,
                Tensor::cat(&[values, &new[1]], 1)?,
            ],
        };
        self.0.insert(layer, all.clone());
        Ok(all)
    }
}
