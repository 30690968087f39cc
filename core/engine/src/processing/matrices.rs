//! How the matrices of a weight `[.., in, out]` lie in memory.

use std::ops::Range;

use candle_core::{Error, Result, Tensor};

/// Rows that one thread takes at a time.
pub(super) const TOGETHER: usize = 64;

/// One after the other, each in rows of `width` elements.
#[derive(Clone, Copy)]
pub(super) struct Matrices {
    pub(super) width: usize,
    /// Of one matrix.
    pub(super) rows: usize,
    pub(super) order: Order,
    count: usize,
}

/// What a row is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// What comes of one input.
    ByInput,
    /// All that makes one output.
    ByOutput,
}

impl Matrices {
    /// Those of a weight that lies in one piece.
    pub(super) fn of(weight: &Tensor) -> Result<Self> {
        let (rows, width, order) = match *weight.dims() {
            [.., inputs, outputs] if weight.is_contiguous() => (inputs, outputs, Order::ByInput),
            // A bias is what comes of one input.
            [outputs] if weight.is_contiguous() => (1, outputs, Order::ByInput),
            [inputs, outputs] if weight.t()?.is_contiguous() => (outputs, inputs, Order::ByOutput),
            _ => return Err(Error::Msg("a weight that is in several pieces".to_owned())),
        };
        let elements = weight.elem_count();
        Ok(Self {
            width,
            rows,
            order,
            count: elements.checked_div(rows * width).unwrap_or(0),
        })
    }

    /// The matrix that a row is of.
    pub(super) fn matrix_of(&self, row: usize) -> usize {
        row / self.rows
    }

    /// The place of a row in its matrix.
    pub(super) fn place_of(&self, row: usize) -> usize {
        row % self.rows
    }

    /// The rows of one matrix after the other, some at a time.
    pub(super) fn blocks(&self) -> Vec<Range<usize>> {
        let of_matrix = |matrix: usize| {
            let end = (matrix + 1) * self.rows;
            let starts = (matrix * self.rows..end).step_by(TOGETHER);
            starts.map(move |start| start..end.min(start + TOGETHER))
        };
        (0..self.count).flat_map(of_matrix).collect()
    }
}
