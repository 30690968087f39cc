//! Weights in f64, with the few operations that processing is made of.

use tlbench_sdk::{PluginError, Tensor};

/// A weight in canonical layout: `[.., in, out]`, or `[.., out]` for a bias.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// A dimension of a linear map, and of what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// The last but one: what is read.
    Input,
    /// The last: what is written.
    Output,
}

impl Axis {
    /// As a report calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Input => "inputs",
            Self::Output => "outputs",
        }
    }
}

impl From<&Tensor> for Array {
    fn from(tensor: &Tensor) -> Self {
        Self {
            shape: tensor.shape().to_vec(),
            values: tensor.to_f64_vec(),
        }
    }
}

impl Array {
    /// One number for every element.
    pub(crate) fn constant(value: f64) -> Self {
        Self {
            shape: Vec::new(),
            values: vec![value],
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// The largest absolute value; NaN where there is one.
    pub(crate) fn largest(&self) -> f64 {
        let magnitudes = self.values.iter().map(|value| value.abs());
        magnitudes.fold(0.0, |largest, value| {
            if value.is_nan() || largest < value {
                value
            } else {
                largest
            }
        })
    }

    /// The root of the mean square.
    pub(crate) fn rms(&self) -> f64 {
        let square: f64 = self.values.iter().map(|value| value * value).sum();
        (square / self.values.len().max(1) as f64).sqrt()
    }

    /// Each input times its gain.
    pub(crate) fn gained(mut self, gain: &Self) -> Result<Self, PluginError> {
        let [inputs, outputs] = self.ends();
        gain.expect(&[inputs])?;
        for (row, values) in self.values.chunks_mut(outputs.max(1)).enumerate() {
            let gain = gain.values[row % inputs];
            values.iter_mut().for_each(|value| *value *= gain);
        }
        Ok(self)
    }

    /// Less its mean over `axis`.
    pub(crate) fn centred(mut self, axis: Axis) -> Self {
        let means = self.means(axis);
        let [inputs, outputs] = self.ends();
        for (index, value) in self.values.iter_mut().enumerate() {
            let row = index / outputs.max(1);
            *value -= match axis {
                Axis::Output => means[row],
                Axis::Input => means[row / inputs * outputs + index % outputs],
            };
        }
        self
    }

    /// The means over `axis`, in the order of what is left.
    pub(crate) fn means(&self, axis: Axis) -> Vec<f64> {
        let [inputs, outputs] = self.ends();
        match axis {
            Axis::Output => {
                let rows = self.values.chunks(outputs.max(1));
                rows.map(|row| row.iter().sum::<f64>() / outputs as f64)
                    .collect()
            }
            Axis::Input => {
                let matrices = self.values.chunks((inputs * outputs).max(1));
                matrices
                    .flat_map(|matrix| column_sums(matrix, outputs))
                    .map(|sum| sum / inputs as f64)
                    .collect()
            }
        }
    }

    pub(crate) fn plus(mut self, other: &Self) -> Result<Self, PluginError> {
        other.expect(&self.shape)?;
        for (value, summand) in self.values.iter_mut().zip(&other.values) {
            *value += summand;
        }
        Ok(self)
    }

    /// What the map makes of the constant input `shift`: `[.., in, out]` to `[.., out]`.
    pub(crate) fn applied_to(&self, shift: &Self) -> Result<Self, PluginError> {
        let [inputs, outputs] = self.ends();
        shift.expect(&[inputs])?;
        let scaled = self.clone().gained(shift)?;
        let matrices = scaled.values.chunks((inputs * outputs).max(1));
        let values = matrices.flat_map(|matrix| column_sums(matrix, outputs));
        let mut shape = self.shape.clone();
        shape.remove(shape.len().saturating_sub(2));
        Ok(Self {
            values: values.collect(),
            shape,
        })
    }

    /// What all heads together make of the constant values `bias [n_kv_heads, d_head]`: `[n_heads, d_head, d_model]` to
    /// `[d_model]`. Each head of values serves consecutive heads.
    pub(crate) fn gathered(&self, bias: &Self) -> Result<Self, PluginError> {
        let (&[heads, d_head, d_model], &[kv_heads, width]) = (&self.shape[..], &bias.shape[..])
        else {
            return Err(misfit(&self.shape, &bias.shape));
        };
        if width != d_head || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(misfit(&self.shape, &bias.shape));
        }
        let served = heads / kv_heads;
        let mut values = vec![0.0; d_model];
        for (row, weights) in self.values.chunks(d_model.max(1)).enumerate() {
            let (head, channel) = (row / d_head, row % d_head);
            let bias = bias.values[head / served * d_head + channel];
            for (value, weight) in values.iter_mut().zip(weights) {
                *value += bias * weight;
            }
        }
        Ok(Self {
            shape: vec![d_model],
            values,
        })
    }

    /// Inputs and outputs; a bias has one input.
    fn ends(&self) -> [usize; 2] {
        match self.shape[..] {
            [.., inputs, outputs] => [inputs, outputs],
            [outputs] => [1, outputs],
            [] => [1, 1],
        }
    }

    fn expect(&self, shape: &[usize]) -> Result<(), PluginError> {
        if self.shape == shape {
            Ok(())
        } else {
            Err(misfit(shape, &self.shape))
        }
    }
}

fn column_sums(matrix: &[f64], outputs: usize) -> Vec<f64> {
    let mut sums = vec![0.0; outputs];
    for row in matrix.chunks(outputs.max(1)) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sums
}

fn misfit(expected: &[usize], found: &[usize]) -> PluginError {
    PluginError::invalid_input(format!(
        "canonical weights do not fit each other: shape {found:?} beside {expected:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], values: &[f64]) -> Array {
        Array::from(&Tensor::from_vec(values.to_vec(), shape).unwrap())
    }

    #[test]
    fn inputs_are_rows_and_outputs_columns() {
        let map = array(&[2, 3], &[1.0, 2.0, 3.0, 5.0, 6.0, 7.0]);
        assert_eq!(map.means(Axis::Input), [3.0, 4.0, 5.0]);
        assert_eq!(map.means(Axis::Output), [2.0, 6.0]);
        let centred = map.clone().centred(Axis::Input);
        assert_eq!(centred.values(), [-2.0, -2.0, -2.0, 2.0, 2.0, 2.0]);
        let gained = map.clone().gained(&array(&[2], &[1.0, 10.0])).unwrap();
        assert_eq!(gained.values(), [1.0, 2.0, 3.0, 50.0, 60.0, 70.0]);
        let applied = map.applied_to(&array(&[2], &[1.0, 10.0])).unwrap();
        assert_eq!(applied.values(), [51.0, 62.0, 73.0]);
    }

    #[test]
    fn each_head_is_a_map_of_its_own() {
        let heads = array(&[2, 2, 1], &[1.0, 3.0, 10.0, 30.0]);
        assert_eq!(heads.means(Axis::Input), [2.0, 20.0]);
        assert_eq!(
            heads.clone().centred(Axis::Input).values(),
            [-1.0, 1.0, -10.0, 10.0]
        );
        let applied = heads.applied_to(&array(&[2], &[1.0, 2.0])).unwrap();
        assert_eq!(
            (applied.shape(), applied.values()),
            (&[2, 1][..], &[7.0, 70.0][..])
        );
    }

    #[test]
    fn a_head_of_values_serves_consecutive_heads() {
        let output = array(&[4, 1, 1], &[1.0, 10.0, 100.0, 1000.0]);
        let bias = array(&[2, 1], &[2.0, 3.0]);
        assert_eq!(output.gathered(&bias).unwrap().values(), [3322.0]);
    }
}
