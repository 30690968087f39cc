//! A weight, and what is done to it in f64 before it is rounded once.

use candle_core::{DType, Device, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::matrices::{Matrices, Order, TOGETHER};
use super::rows::{Change, Rows};
use crate::in_order::laid_out;
use crate::precision::Precision;

/// A dimension of a linear map, and of what it gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Axis {
    /// The last but one: what is read.
    Input,
    /// The last: what is written.
    Output,
}

/// A weight in canonical layout, on its way to what it will be.
pub(super) struct Exact {
    /// As it is stored, in one piece.
    stored: Tensor,
    matrices: Matrices,
    /// In the order in which they are made.
    changes: Vec<Change>,
}

impl Exact {
    pub(super) fn new(weight: &Tensor) -> Result<Self> {
        let is_turned = weight.rank() == 2 && weight.t()?.is_contiguous();
        let stored = match is_turned {
            true => weight.clone(),
            false => laid_out(weight)?,
        };
        Ok(Self {
            matrices: Matrices::of(&stored)?,
            stored,
            changes: Vec::new(),
        })
    }

    /// Multiplies each input by its gain.
    pub(super) fn scale_inputs(&mut self, gains: &[f64]) {
        self.changes.push(match self.matrices.order {
            Order::ByInput => Change::ScaleRow(gains.to_vec()),
            Order::ByOutput => Change::ScaleElements(gains.to_vec()),
        });
    }

    /// Takes the mean over `axis` out.
    pub(super) fn centre(&mut self, axis: Axis) -> Result<()> {
        let change = match (axis, self.matrices.order) {
            (Axis::Output, Order::ByInput) | (Axis::Input, Order::ByOutput) => Change::Centre,
            (Axis::Input, Order::ByInput) | (Axis::Output, Order::ByOutput) => {
                let rows = self.matrices.rows as f64;
                let sums = self.rows(|rows| rows.sums(|_| 1.0))?;
                Change::Lower(sums.into_iter().map(|sum| sum / rows).collect())
            }
        };
        self.changes.push(change);
        Ok(())
    }

    /// What the map makes of the constant input `shift`: `[.., in, out]` to `[.., out]`.
    pub(super) fn applied_to(&self, shift: &[f64]) -> Result<Vec<f64>> {
        let place_of = |row| self.matrices.place_of(row);
        self.rows(|rows| match self.matrices.order {
            Order::ByInput => rows.sums(|row| shift[place_of(row)]),
            Order::ByOutput => rows.products(shift),
        })
    }

    /// All of it in f64.
    pub(super) fn tensor(&self) -> Result<Tensor> {
        self.rounded(Precision::Double)
    }

    /// As `precision` stores it, in memory as it was stored.
    pub(super) fn rounded(&self, precision: Precision) -> Result<Tensor> {
        let rounded = match precision.computed() {
            DType::F64 => self.written(|value| value),
            _ => self.written(|value| value as f32),
        };
        let rounded = precision.store(rounded?)?;
        match self.matrices.order {
            Order::ByInput => Ok(rounded),
            Order::ByOutput => rounded.t(),
        }
    }

    /// Row after row.
    fn written<T: WithDType>(&self, round: impl Fn(f64) -> T + Sync) -> Result<Tensor> {
        let Matrices { width, rows, .. } = self.matrices;
        let mut values = vec![T::zero(); self.stored.elem_count()];
        self.rows(|rows| {
            let blocks = values.par_chunks_mut(TOGETHER * width.max(1)).enumerate();
            blocks.for_each(|(block, values)| {
                let mut row = vec![0.0; width];
                for (index, values) in values.chunks_mut(width).enumerate() {
                    rows.fill(block * TOGETHER + index, &mut row);
                    for (value, exact) in values.iter_mut().zip(&row) {
                        *value = round(*exact);
                    }
                }
            });
        })?;
        let shape = match self.matrices.order {
            Order::ByInput => self.stored.shape().clone(),
            Order::ByOutput => Shape::from((rows, width)),
        };
        Tensor::from_vec(values, shape, &Device::Cpu)
    }

    fn rows<T>(&self, see: impl FnOnce(&Rows<'_>) -> T) -> Result<T> {
        Rows::of(&self.stored, &self.changes, see)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::D;
    use tlbench_sdk::noise;

    use super::*;

    fn weight(shape: &[usize]) -> Tensor {
        let values = noise(3, shape.iter().product());
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_close(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.dims(), expected.dims());
        let mut pairs = flat(found).into_iter().zip(flat(expected));
        assert!(pairs.all(|(found, expected)| (found - expected).abs() < 1e-13));
    }

    /// Maps that lie in memory by input, by output, in several matrices, and in pieces.
    fn maps() -> [Tensor; 4] {
        let turned = |shape: &[usize]| weight(shape).transpose(0, 1).unwrap();
        let whole = weight(&[150, 200]);
        [
            weight(&[150, 70]),
            turned(&[70, 150]),
            weight(&[3, 150, 70]),
            whole.narrow(1, 30, 70).unwrap(),
        ]
    }

    fn column(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, (values.len(), 1), &Device::Cpu).unwrap()
    }

    #[test]
    fn a_row_at_a_time_it_is_what_plain_operations_give_however_the_weight_lies_in_memory() {
        for weight in maps() {
            let gains = noise(5, 150);
            let mut exact = Exact::new(&weight).unwrap();
            exact.scale_inputs(&gains);
            exact.centre(Axis::Input).unwrap();
            exact.centre(Axis::Output).unwrap();
            let scaled = weight.broadcast_mul(&column(&gains)).unwrap();
            let centred = [D::Minus2, D::Minus1].iter().fold(scaled, |weight, dim| {
                let mean = weight.mean_keepdim(*dim).unwrap();
                weight.broadcast_sub(&mean).unwrap()
            });
            assert_close(&exact.tensor().unwrap(), &centred);
        }
    }

    #[test]
    fn a_constant_input_makes_what_a_product_with_it_gives() {
        for weight in maps() {
            let shift = noise(7, 150);
            let product = weight.broadcast_mul(&column(&shift)).unwrap();
            let expected = product.sum(D::Minus2).unwrap();
            let found = Exact::new(&weight).unwrap().applied_to(&shift).unwrap();
            let found = Tensor::from_vec(found, expected.shape(), &Device::Cpu).unwrap();
            assert_close(&found, &expected);
        }
    }

    #[test]
    fn what_is_rounded_is_the_nearest_and_lies_as_it_lay() {
        for weight in maps() {
            let single = weight.to_dtype(DType::F32).unwrap();
            let rounded = Exact::new(&weight).unwrap().rounded(Precision::Single);
            let rounded = rounded.unwrap();
            assert_eq!(
                rounded.is_contiguous(),
                Matrices::of(&rounded).unwrap().order == Order::ByInput
            );
            assert_close(
                &rounded.to_dtype(DType::F64).unwrap(),
                &single.to_dtype(DType::F64).unwrap(),
            );
        }
    }

    #[test]
    fn a_bias_has_one_input() {
        let mut bias = Exact::new(&weight(&[7])).unwrap();
        bias.centre(Axis::Output).unwrap();
        let sum = bias.tensor().unwrap().sum_all().unwrap();
        assert_close(&sum, &Tensor::new(0.0, &Device::Cpu).unwrap());
    }

    #[test]
    fn what_is_stored_stays() {
        let stored = weight(&[4, 3]);
        let mut exact = Exact::new(&stored).unwrap();
        exact.centre(Axis::Output).unwrap();
        exact.tensor().unwrap();
        assert_close(&stored, &weight(&[4, 3]));
    }
}
