//! Changes of f64 weights `[.., in, out]` in the memory that they have: the largest take as much as several layers.

use candle_core::{CpuStorage, D, DType, Error, InplaceOp1, InplaceOp2, Layout, Result, Tensor};
use rayon::prelude::*;

use crate::precision::Precision;

/// Rows that one thread takes at a time.
const TOGETHER: usize = 64;

/// A copy of `weight` in f64, in the order in which it lies in memory.
pub(super) fn exact(weight: &Tensor) -> Result<Tensor> {
    in_memory_order(weight, |weight| match weight.dtype() {
        DType::F64 => weight.force_contiguous(),
        _ => weight.to_dtype(DType::F64),
    })
}

/// `exact` as `precision` stores it, in the same order.
pub(super) fn rounded(exact: &Tensor, precision: Precision) -> Result<Tensor> {
    in_memory_order(exact, |exact| precision.rounded(exact))
}

fn in_memory_order(
    weight: &Tensor,
    copied: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if weight.rank() == 2 && weight.t()?.is_contiguous() {
        return copied(&weight.t()?)?.t();
    }
    copied(weight)
}

/// Multiplies each input of `weight`, which nobody else has, by its `gain [in]`.
pub(super) fn scale_inputs(weight: &Tensor, gain: &Tensor) -> Result<()> {
    weight.inplace_op2(&gain.contiguous()?, &ScaleInputs)
}

/// Takes the mean over `dim`, one of the last two, out of `weight`, which nobody else has.
pub(super) fn centre(weight: &Tensor, dim: D) -> Result<()> {
    weight.inplace_op1(&Centre { dim })
}

/// How matrices lie in memory: rows one after the other, each of `width` elements.
struct Matrices {
    width: usize,
    /// Rows of one matrix.
    rows: usize,
    /// Whether a row is what comes of one input, or all that makes one output.
    is_by_input: bool,
}

impl Matrices {
    fn of(layout: &Layout) -> Result<Self> {
        let fail = || Error::Msg("a weight that does not lie in one piece".to_owned());
        if layout.start_offset() != 0 {
            return Err(fail());
        }
        match *layout.dims() {
            [.., inputs, outputs] if layout.is_contiguous() => Ok(Self {
                width: outputs,
                rows: inputs,
                is_by_input: true,
            }),
            // A bias is what comes of one input.
            [outputs] if layout.is_contiguous() => Ok(Self {
                width: outputs,
                rows: 1,
                is_by_input: true,
            }),
            [inputs, outputs] if layout.is_fortran_contiguous() => Ok(Self {
                width: inputs,
                rows: outputs,
                is_by_input: false,
            }),
            _ => Err(fail()),
        }
    }

    /// Calls `change` with each row and its number in its matrix.
    fn each_row(&self, values: &mut [f64], change: impl Fn(usize, &mut [f64]) + Sync) {
        let width = self.width.max(1);
        let blocks = values.par_chunks_mut(TOGETHER * width).enumerate();
        blocks.for_each(|(block, values)| {
            for (index, row) in values.chunks_mut(width).enumerate() {
                change((block * TOGETHER + index) % self.rows.max(1), row);
            }
        });
    }

    /// Takes the mean of each row out of it.
    fn centre_rows(&self, values: &mut [f64]) {
        self.each_row(values, |_, row| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            row.iter_mut().for_each(|value| *value -= mean);
        });
    }

    /// Takes the mean of each column of each matrix out of it.
    fn centre_columns(&self, values: &mut [f64]) {
        let size = (self.width * self.rows).max(1);
        for matrix in values.chunks_mut(size) {
            let means = self.column_means(matrix);
            self.each_row(matrix, |_, row| {
                for (value, mean) in row.iter_mut().zip(&means) {
                    *value -= mean;
                }
            });
        }
    }

    /// Sums of blocks of rows are added in their order, whichever thread has made them.
    fn column_means(&self, matrix: &[f64]) -> Vec<f64> {
        let width = self.width.max(1);
        let blocks = matrix.par_chunks(TOGETHER * width).map(|rows| {
            let mut sums = vec![0.0; width];
            rows.chunks(width).for_each(|row| add(&mut sums, row));
            sums
        });
        let mut sums = vec![0.0; width];
        for block in blocks.collect::<Vec<_>>() {
            add(&mut sums, &block);
        }
        sums.iter().map(|sum| sum / self.rows as f64).collect()
    }
}

fn add(sums: &mut [f64], row: &[f64]) {
    sums.iter_mut()
        .zip(row)
        .for_each(|(sum, value)| *sum += value);
}

struct Centre {
    dim: D,
}

impl InplaceOp1 for Centre {
    fn name(&self) -> &'static str {
        "centre"
    }

    fn cpu_fwd(&self, weight: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let matrices = Matrices::of(layout)?;
        let values = elements(weight)?;
        if matches!(self.dim, D::Minus1) == matrices.is_by_input {
            matrices.centre_rows(values);
        } else {
            matrices.centre_columns(values);
        }
        Ok(())
    }
}

struct ScaleInputs;

impl InplaceOp2 for ScaleInputs {
    fn name(&self) -> &'static str {
        "scale-inputs"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        layout: &Layout,
        gain: &CpuStorage,
        gain_at: &Layout,
    ) -> Result<()> {
        let matrices = Matrices::of(layout)?;
        let CpuStorage::F64(gain) = gain else {
            return Err(not_f64());
        };
        let gain = &gain[gain_at.start_offset()..];
        matrices.each_row(elements(weight)?, |input, row| {
            if matrices.is_by_input {
                row.iter_mut().for_each(|value| *value *= gain[input]);
            } else {
                row.iter_mut()
                    .zip(gain)
                    .for_each(|(value, gain)| *value *= gain);
            }
        });
        Ok(())
    }
}

fn elements(storage: &mut CpuStorage) -> Result<&mut [f64]> {
    match storage {
        CpuStorage::F64(values) => Ok(values),
        _ => Err(not_f64()),
    }
}

fn not_f64() -> Error {
    Error::Msg("a weight that is processed in another precision than f64".to_owned())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tlbench_sdk::noise;

    use super::*;

    fn weight(shape: &[usize]) -> Tensor {
        let values = noise(3, shape.iter().product());
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn assert_close(found: &Tensor, expected: &Tensor) {
        let error = (found - expected)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        assert!(error.to_scalar::<f64>().unwrap() < 1e-14);
    }

    #[test]
    fn in_place_it_is_what_plain_operations_give_however_the_weight_lies_in_memory() {
        let (by_input, by_output) = (weight(&[150, 70]), weight(&[70, 150]).t().unwrap());
        for weight in [by_input, by_output, weight(&[3, 150, 70])] {
            let gain = self::weight(&[150]);
            let scaled = exact(&weight).unwrap();
            scale_inputs(&scaled, &gain).unwrap();
            let column = gain.unsqueeze(1).unwrap();
            assert_close(&scaled, &weight.broadcast_mul(&column).unwrap());
            for dim in [D::Minus1, D::Minus2] {
                let centred = exact(&weight).unwrap();
                centre(&centred, dim).unwrap();
                let mean = weight.mean_keepdim(dim).unwrap();
                assert_close(&centred, &weight.broadcast_sub(&mean).unwrap());
            }
        }
    }

    #[test]
    fn a_bias_has_one_input() {
        let bias = exact(&weight(&[7])).unwrap();
        centre(&bias, D::Minus1).unwrap();
        assert_close(
            &bias.sum_all().unwrap(),
            &Tensor::new(0.0, &Device::Cpu).unwrap(),
        );
    }

    #[test]
    fn what_is_changed_is_a_copy() {
        let stored = weight(&[4, 3]);
        centre(&exact(&stored).unwrap(), D::Minus1).unwrap();
        assert_close(&stored, &weight(&[4, 3]));
    }
}
