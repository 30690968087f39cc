//! The elements of a view in row-major order.

use candle_core::{CpuStorage, Device, Layout, Result, Storage, Tensor, WithDType};
use rayon::prelude::*;

/// Rows that are turned at a time. Each column of them is read in one piece, of several lines of the cache.
const HEIGHT: usize = 64;

/// Columns that are turned at a time: as many as a line of the cache holds.
const WIDTH: usize = 16;

/// `view` with its elements in row-major order, which shares their memory where they lie so.
pub(crate) fn laid_out(view: &Tensor) -> Result<Tensor> {
    let (storage, layout) = view.storage_and_layout();
    let shape = view.shape();
    match &*storage {
        _ if layout.is_contiguous() => Ok(view.clone()),
        Storage::Cpu(CpuStorage::F32(values)) => {
            Tensor::from_vec(in_order(values, layout), shape, &Device::Cpu)
        }
        Storage::Cpu(CpuStorage::F64(values)) => {
            Tensor::from_vec(in_order(values, layout), shape, &Device::Cpu)
        }
        _ => view.contiguous(),
    }
}

/// A copy of what `layout` means of `values`.
///
/// candle's own looks every element of a transposed view up by itself, which takes eight times as long.
pub(crate) fn in_order<T: WithDType>(values: &[T], layout: &Layout) -> Vec<T> {
    if let Some((start, end)) = layout.contiguous_offsets() {
        return values[start..end].to_vec();
    }
    let matrices = Matrices::of(layout);
    let mut ordered = vec![T::zero(); layout.shape().elem_count()];
    let size = matrices.rows * matrices.columns;
    if size == 0 {
        return ordered;
    }
    let copies = ordered.par_chunks_mut(size).zip(&matrices.starts);
    copies.for_each(|(ordered, start)| matrices.copy(&values[*start..], ordered));
    ordered
}

/// The last two dimensions of a view, once for each entry of the others.
struct Matrices {
    /// Where each begins.
    starts: Vec<usize>,
    rows: usize,
    columns: usize,
    /// How far apart rows lie in memory, and columns.
    strides: [usize; 2],
}

impl Matrices {
    fn of(layout: &Layout) -> Self {
        let (&[ref outer @ .., rows, columns], &[ref outer_strides @ .., by_row, by_column]) =
            (layout.dims(), layout.stride())
        else {
            let vector = |sizes: &[usize]| sizes.first().copied();
            return Self {
                starts: vec![layout.start_offset()],
                rows: 1,
                columns: vector(layout.dims()).unwrap_or(1),
                strides: [0, vector(layout.stride()).unwrap_or(1)],
            };
        };
        let mut starts = vec![layout.start_offset()];
        for (&size, &stride) in outer.iter().zip(outer_strides) {
            let entries = |start: usize| (0..size).map(move |index| start + index * stride);
            starts = starts.into_iter().flat_map(entries).collect();
        }
        Self {
            starts,
            rows,
            columns,
            strides: [by_row, by_column],
        }
    }

    /// One of them, which begins where `values` does.
    fn copy<T: WithDType>(&self, values: &[T], ordered: &mut [T]) {
        let together = ordered.par_chunks_mut(HEIGHT * self.columns);
        together.enumerate().for_each(|(block, rows)| {
            let values = &values[block * HEIGHT * self.strides[0]..];
            match self.strides {
                [by_row, 1] => {
                    for (row, ordered) in rows.chunks_mut(self.columns).enumerate() {
                        ordered.copy_from_slice(&values[row * by_row..][..self.columns]);
                    }
                }
                _ => self.turn(values, rows),
            }
        });
    }

    /// At most [`HEIGHT`] rows, so many columns at a time.
    fn turn<T: WithDType>(&self, values: &[T], rows: &mut [T]) {
        let height = rows.len() / self.columns;
        let mut tile = [[T::zero(); HEIGHT]; WIDTH];
        for first in (0..self.columns).step_by(WIDTH) {
            let width = WIDTH.min(self.columns - first);
            for (column, tile) in tile[..width].iter_mut().enumerate() {
                self.read(
                    &values[(first + column) * self.strides[1]..],
                    &mut tile[..height],
                );
            }
            for (row, ordered) in rows.chunks_mut(self.columns).enumerate() {
                for (value, tile) in ordered[first..first + width].iter_mut().zip(&tile) {
                    *value = tile[row];
                }
            }
        }
    }

    /// A column of as many rows as `tile` holds.
    fn read<T: WithDType>(&self, values: &[T], tile: &mut [T]) {
        match self.strides[0] {
            1 => tile.copy_from_slice(&values[..tile.len()]),
            by_row => {
                for (row, value) in tile.iter_mut().enumerate() {
                    *value = values[row * by_row];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>() as u32;
        let values = (0..count).map(|i| i as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn ordered(view: &Tensor) -> Vec<f32> {
        let (storage, layout) = view.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F32(values)) => in_order(values, layout),
            _ => panic!("expected f32"),
        }
    }

    #[test]
    fn a_view_is_what_candle_makes_of_it() {
        type View = fn(&Tensor) -> Result<Tensor>;
        let views: [(&str, View); 10] = [
            ("as it is", |whole| Ok(whole.clone())),
            ("transposed", |whole| whole.transpose(1, 2)),
            ("matrices in another order", |whole| whole.transpose(0, 1)),
            ("all dimensions turned", |whole| whole.permute([2, 1, 0])),
            ("rows alone", |whole| whole.narrow(1, 3, 30)),
            ("columns alone", |whole| whole.narrow(2, 5, 17)),
            ("columns alone, transposed", |whole| {
                whole.narrow(2, 5, 17)?.transpose(1, 2)
            }),
            ("one column", |whole| whole.get(1)?.t()?.get(7)),
            ("repeated", |whole| {
                whole.get(0)?.get(2)?.broadcast_as((5, 50))
            }),
            ("nothing", |whole| whole.narrow(2, 5, 0)?.transpose(1, 2)),
        ];
        let whole = numbered(&[3, 137, 50]);
        for (name, view) in views {
            let view = view(&whole).unwrap();
            let expected: Vec<f32> = view.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(ordered(&view), expected, "{name}");
        }
    }
}
