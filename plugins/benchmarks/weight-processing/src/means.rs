//! Means over a dimension, gathered row by row.

use crate::array::Axis;
use crate::rows;

/// The means of what was seen so far.
pub(crate) struct Means {
    axis: Axis,
    /// Of one matrix.
    inputs: usize,
    outputs: usize,
    sums: Vec<f64>,
}

impl Means {
    /// Of matrices of so many inputs and outputs, of which no row was seen.
    pub(crate) const fn new(axis: Axis, [inputs, outputs]: [usize; 2]) -> Self {
        Self {
            axis,
            inputs,
            outputs,
            sums: Vec::new(),
        }
    }

    /// Takes in the next row of outputs, the one of this number.
    pub(crate) fn see(&mut self, index: usize, row: &[f64]) {
        match self.axis {
            Axis::Output => self.sums.push(rows::sum(row)),
            Axis::Input => {
                let matrix = index / self.inputs * self.outputs;
                self.sums.resize(matrix + self.outputs, 0.0);
                rows::add(&mut self.sums[matrix..], row);
            }
        }
    }

    /// When all rows were seen, in the order of what is left.
    pub(crate) fn finish(self) -> Vec<f64> {
        let count = match self.axis {
            Axis::Input => self.inputs,
            Axis::Output => self.outputs,
        };
        let means = self.sums.into_iter().map(|sum| sum / count as f64);
        means.collect()
    }
}
