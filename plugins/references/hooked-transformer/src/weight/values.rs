//! The loops over the elements of a weight.

use candle_core::{CpuStorage, Result, Storage, Tensor, WithDType, bail};

use super::{Adjustment, Along, Operation};

/// A part of a weight, as it lies in memory row by row.
pub(super) struct Values<'a> {
    /// `[.., rows, columns]`, with the elements of a row next to each other.
    pub(super) stored: &'a Tensor,
    pub(super) adjustments: &'a [Adjustment],
    /// The row and the column of the whole weight at which the part begins.
    pub(super) first: [usize; 2],
    /// Rows and columns of the whole weight.
    pub(super) whole: [usize; 2],
}

impl Values<'_> {
    /// Every element, worked out in f64 and rounded once.
    pub(super) fn collect<T: WithDType>(&self) -> Result<Vec<T>> {
        let (storage, layout) = self.stored.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            bail!("a weight that is not on the CPU");
        };
        let start = layout.start_offset();
        match storage {
            CpuStorage::F64(values) => Ok(self.converted(&values[start..])),
            CpuStorage::F32(values) => Ok(self.converted(&values[start..])),
            CpuStorage::F16(values) => Ok(self.converted(&values[start..])),
            CpuStorage::BF16(values) => Ok(self.converted(&values[start..])),
            _ => bail!("a weight of {:?}", self.stored.dtype()),
        }
    }

    fn converted<S: WithDType, T: WithDType>(&self, stored: &[S]) -> Vec<T> {
        let [_, columns] = self.size();
        let count = self.stored.elem_count();
        let mut all = Vec::with_capacity(count);
        let mut exact = vec![0.0; columns];
        for index in 0..count / columns.max(1) {
            self.push_row(index, stored, &mut exact, &mut all);
        }
        all
    }

    /// Rows and columns of the part.
    fn size(&self) -> [usize; 2] {
        let dims = self.stored.dims();
        [dims[dims.len() - 2], dims[dims.len() - 1]]
    }

    /// Row `index` of all matrices, to the end of `all` by way of `exact`.
    fn push_row<S: WithDType, T: WithDType>(
        &self,
        index: usize,
        stored: &[S],
        exact: &mut [f64],
        all: &mut Vec<T>,
    ) {
        let [rows, columns] = self.size();
        let (matrix, row) = (index / rows, index % rows);
        let strides = self.stored.stride();
        let start = row * strides[strides.len() - 2] + matrix * strides[0];
        let row_of_stored = stored[start..start + columns].iter();
        if self.adjustments.is_empty() {
            all.extend(row_of_stored.map(|value| T::from_f64(value.to_f64())));
            return;
        }
        for (exact, value) in exact.iter_mut().zip(row_of_stored) {
            *exact = value.to_f64();
        }
        for adjustment in self.adjustments {
            self.adjust(exact, adjustment, matrix, row);
        }
        all.extend(exact.iter().map(|&value| T::from_f64(value)));
    }

    /// One step on the elements of one row.
    fn adjust(&self, values: &mut [f64], adjustment: &Adjustment, matrix: usize, row: usize) {
        let Adjustment {
            operation,
            along,
            by,
        } = adjustment;
        let operation = |value: &mut f64, by: f64| match operation {
            Operation::Multiply => *value *= by,
            Operation::Subtract => *value -= by,
        };
        match along {
            Along::Rows => {
                let by = by[matrix * self.whole[0] + self.first[0] + row];
                values.iter_mut().for_each(|value| operation(value, by));
            }
            Along::Columns => {
                let by = &by[matrix * self.whole[1] + self.first[1]..];
                for (value, &by) in values.iter_mut().zip(by) {
                    operation(value, by);
                }
            }
        }
    }
}
