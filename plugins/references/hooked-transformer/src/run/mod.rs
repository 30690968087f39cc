//! One pass through the model, and what happens at its hooks.

mod edit;
mod probe;
mod tap;

use std::ops::Range;

use candle_core::{Tensor, Var};
use tlbench_sdk::spec::Mask;

pub(crate) use edit::edited_weight;
pub(crate) use probe::Probe;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, row_indices};
use crate::matrix::Matrix;
use crate::order::Order;

/// What a component needs beside its weights.
pub(crate) struct Run<'a, 'q> {
    pub(crate) order: Order,
    pub(crate) inputs: &'a Inputs,
    /// The positions that run now. Those before them are in the cache.
    pub(crate) piece: Range<usize>,
    pub(crate) cache: &'a mut Cache,
    pub(crate) probe: &'a mut Probe<'q>,
}

impl Run<'_, '_> {
    /// Shows `value` at the hook `name`; what comes back is what the model goes on with.
    pub(crate) fn hook(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.probe.hook(name, value)
    }

    /// Which keys each query of the piece sees, `[batch, 1, pos, key_pos]`.
    pub(crate) fn visible(&self, mask: Mask) -> Result<Tensor> {
        self.inputs.visible(mask, &self.piece)
    }

    /// The rows of `table` that the positions of the piece take, `[batch, pos, width]`.
    pub(crate) fn look_up(
        &self,
        table: &Matrix,
        what: &str,
        indices: &[Vec<i64>],
    ) -> Result<Tensor> {
        let &[rows, width] = table.dims() else {
            let shape = format!("shape {:?}", table.dims());
            return Err(Error::request(what, "a table [rows, width]", shape));
        };
        let indices = row_indices(what, indices, &self.piece, rows)?;
        let found = table.rows(&indices, self.probe.dtype(), |rows| self.leaf(rows))?;
        Ok(found.reshape((self.inputs.batch(), self.piece.len(), width))?)
    }

    /// A value that gradients reach, whether or not they go on from there.
    pub(crate) fn leaf(&self, value: Tensor) -> Result<Tensor> {
        if !self.probe.differentiates() || value.track_op() {
            return Ok(value);
        }
        Ok(Var::from_tensor(&value)?.into_inner())
    }
}
