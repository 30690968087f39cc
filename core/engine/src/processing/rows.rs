//! The rows of a weight in f64, one at a time: all of them take as much memory as several layers.

use candle_core::{CpuStorage, Error, Result, Storage, Tensor};
use rayon::prelude::*;

use super::matrices::Matrices;

/// What is done to a row as it lies in memory.
pub(super) enum Change {
    /// All of it is multiplied by the gain of its place.
    ScaleRow(Vec<f64>),
    /// Each element is multiplied by its gain.
    ScaleElements(Vec<f64>),
    /// It loses its mean.
    Centre,
    /// Each element loses its own of these; every matrix has as many as a row has elements.
    Lower(Vec<f64>),
}

/// The rows after some changes.
pub(super) struct Rows<'a> {
    stored: Stored<'a>,
    pub(super) matrices: Matrices,
    changes: &'a [Change],
}

enum Stored<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl Rows<'_> {
    /// Gives `see` those of `weight`, which lies in one piece, after `changes`.
    pub(super) fn of<T>(
        weight: &Tensor,
        changes: &[Change],
        see: impl FnOnce(&Rows<'_>) -> T,
    ) -> Result<T> {
        let matrices = Matrices::of(weight)?;
        let (storage, layout) = weight.storage_and_layout();
        let start = layout.start_offset();
        let part = start..start + weight.elem_count();
        let stored = match &*storage {
            Storage::Cpu(CpuStorage::F32(values)) => Stored::Single(&values[part]),
            Storage::Cpu(CpuStorage::F64(values)) => Stored::Double(&values[part]),
            _ => {
                let found = format!("a weight of type {:?}", weight.dtype());
                return Err(Error::Msg(found));
            }
        };
        Ok(see(&Rows {
            stored,
            matrices,
            changes,
        }))
    }

    /// Works out the row of this number.
    pub(super) fn fill(&self, index: usize, row: &mut [f64]) {
        let part = index * row.len()..(index + 1) * row.len();
        match self.stored {
            Stored::Single(values) => {
                for (exact, value) in row.iter_mut().zip(&values[part]) {
                    *exact = f64::from(*value);
                }
            }
            Stored::Double(values) => row.copy_from_slice(&values[part]),
        }
        for change in self.changes {
            self.change(change, index, row);
        }
    }

    fn change(&self, change: &Change, index: usize, row: &mut [f64]) {
        match change {
            Change::ScaleRow(gains) => {
                let gain = gains[self.matrices.place_of(index)];
                row.iter_mut().for_each(|value| *value *= gain);
            }
            Change::ScaleElements(gains) => {
                for (value, gain) in row.iter_mut().zip(gains) {
                    *value *= gain;
                }
            }
            Change::Centre => {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                row.iter_mut().for_each(|value| *value -= mean);
            }
            Change::Lower(amounts) => {
                let amounts = &amounts[self.matrices.matrix_of(index) * row.len()..];
                for (value, amount) in row.iter_mut().zip(amounts) {
                    *value -= amount;
                }
            }
        }
    }

    /// The sum of the rows of each matrix, each times its `factor`. Sums of some rows are added in their order, whichever
    /// thread has made them.
    pub(super) fn sums(&self, factor: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
        let width = self.matrices.width;
        let blocks = self.matrices.blocks();
        let partial = blocks.into_par_iter().map(|block| {
            let matrix = self.matrices.matrix_of(block.start);
            let (mut row, mut sums) = (vec![0.0; width], vec![0.0; width]);
            for index in block {
                self.fill(index, &mut row);
                let factor = factor(index);
                for (sum, value) in sums.iter_mut().zip(&row) {
                    *sum += factor * value;
                }
            }
            (matrix, sums)
        });
        let mut sums = Vec::new();
        for (matrix, partial) in partial.collect::<Vec<_>>() {
            sums.resize((matrix + 1) * width, 0.0);
            for (sum, value) in sums[matrix * width..].iter_mut().zip(&partial) {
                *sum += value;
            }
        }
        sums
    }

    /// Each row times `factors`.
    pub(super) fn products(&self, factors: &[f64]) -> Vec<f64> {
        let blocks = self.matrices.blocks().into_par_iter();
        let products = blocks.flat_map_iter(|block| {
            let mut row = vec![0.0; self.matrices.width];
            block.map(move |index| {
                self.fill(index, &mut row);
                let products = row.iter().zip(factors);
                products.map(|(value, factor)| value * factor).sum()
            })
        });
        products.collect()
    }
}
