//! Weights, and what formulas make of them, one row at a time: the largest weight of a model takes as much memory as
//! several layers.

use tlbench_sdk::{PluginError, Tensor};

use crate::array::{Array, Axis, ends, misfit};
use crate::means::Means;
use crate::rows::{self, larger};

/// Values in canonical layout: `[.., in, out]`, or `[.., out]` for a bias.
#[derive(Clone, Debug)]
pub(crate) enum Values<'a> {
    /// A weight of an answer.
    Shown(&'a Tensor),
    /// One number for every element.
    Constant(f64),
    /// What was worked out.
    Held(Array),
    /// Each input times its gain.
    Gained(Box<Self>, Vec<f64>),
    /// Less the mean of each row.
    CentredOutputs(Box<Self>),
    /// Less the mean over the inputs of each output, all matrices one after the other.
    CentredInputs(Box<Self>, Vec<f64>),
}

impl Values<'_> {
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Shown(tensor) => tensor.shape(),
            Self::Constant(_) => &[],
            Self::Held(array) => &array.shape,
            Self::Gained(of, _) | Self::CentredOutputs(of) | Self::CentredInputs(of, _) => {
                of.shape()
            }
        }
    }

    /// Each input times its gain.
    pub(crate) fn gained(self, gain: &Self) -> Result<Self, PluginError> {
        let [inputs, _] = self.ends();
        let gain = gain.held();
        gain.expect(&[inputs])?;
        Ok(Self::Gained(Box::new(self), gain.values))
    }

    /// Less its mean over `axis`.
    pub(crate) fn centred(self, axis: Axis) -> Self {
        match axis {
            Axis::Output => Self::CentredOutputs(Box::new(self)),
            Axis::Input => {
                let means = self.means(axis);
                Self::CentredInputs(Box::new(self), means)
            }
        }
    }

    pub(crate) fn plus(&self, other: &Self) -> Result<Self, PluginError> {
        Ok(Self::Held(self.held().plus(&other.held())?))
    }

    /// What the map makes of the constant input `shift`: `[.., in, out]` to `[.., out]`.
    pub(crate) fn applied_to(&self, shift: &Self) -> Result<Self, PluginError> {
        let [inputs, outputs] = self.ends();
        let shift = shift.held();
        shift.expect(&[inputs])?;
        let mut shape = self.shape().to_vec();
        shape.remove(shape.len().saturating_sub(2));
        let mut values = vec![0.0; shape.iter().product()];
        self.each_row(|row, weights| {
            let matrix = row / inputs * outputs;
            add_times(&mut values[matrix..], weights, shift.values[row % inputs]);
        });
        Ok(Self::Held(Array { shape, values }))
    }

    /// What all heads together make of the constant values `bias [n_kv_heads, d_head]`: `[n_heads, d_head, d_model]` to
    /// `[d_model]`. Each head of values serves consecutive heads.
    pub(crate) fn gathered(&self, bias: &Self) -> Result<Self, PluginError> {
        let bias = bias.held();
        let (&[heads, d_head, d_model], &[kv_heads, width]) = (self.shape(), &bias.shape[..])
        else {
            return Err(misfit(self.shape(), &bias.shape));
        };
        if width != d_head || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(misfit(self.shape(), &bias.shape));
        }
        let served = heads / kv_heads;
        let mut values = vec![0.0; d_model];
        self.each_row(|row, weights| {
            let (head, channel) = (row / d_head, row % d_head);
            add_times(
                &mut values,
                weights,
                bias.values[head / served * d_head + channel],
            );
        });
        Ok(Self::Held(Array {
            shape: vec![d_model],
            values,
        }))
    }

    /// The means over `axis`, in the order of what is left.
    pub(crate) fn means(&self, axis: Axis) -> Vec<f64> {
        let mut means = Means::new(axis, self.ends());
        self.each_row(|index, row| means.see(index, row));
        means.finish()
    }

    /// The largest absolute value; NaN where there is one.
    pub(crate) fn largest(&self) -> f64 {
        let mut most = 0.0;
        self.each_row(|_, row| most = larger(most, rows::largest(row)));
        most
    }

    /// All of them.
    fn held(&self) -> Array {
        let mut values = Vec::with_capacity(self.shape().iter().product());
        self.each_row(|_, row| values.extend_from_slice(row));
        Array {
            shape: self.shape().to_vec(),
            values,
        }
    }

    /// Calls `see` with the number of each row of outputs, and with the row.
    pub(crate) fn each_row(&self, mut see: impl FnMut(usize, &[f64])) {
        let [_, outputs] = self.ends();
        let mut row = vec![0.0; outputs];
        let elements: usize = self.shape().iter().product();
        for index in 0..elements / outputs.max(1) {
            self.fill(index, &mut row);
            see(index, &row);
        }
    }

    /// Works out the row of this number.
    pub(crate) fn fill(&self, index: usize, row: &mut [f64]) {
        match self {
            Self::Shown(tensor) => widen(tensor, index * row.len(), row),
            Self::Constant(value) => row.fill(*value),
            Self::Held(array) => {
                row.copy_from_slice(&array.values[index * row.len()..][..row.len()]);
            }
            Self::Gained(of, gains) => {
                of.fill(index, row);
                let gain = gains[index % gains.len()];
                row.iter_mut().for_each(|value| *value *= gain);
            }
            Self::CentredOutputs(of) => {
                of.fill(index, row);
                let mean = rows::sum(row) / row.len() as f64;
                rows::lower(row, mean);
            }
            Self::CentredInputs(of, means) => {
                of.fill(index, row);
                let matrix = index / of.ends()[0] * row.len();
                for (value, mean) in row.iter_mut().zip(&means[matrix..]) {
                    *value -= mean;
                }
            }
        }
    }

    /// Inputs and outputs of one matrix.
    pub(crate) fn ends(&self) -> [usize; 2] {
        ends(self.shape())
    }
}

/// Adds `factor` times `row` to `sums`.
fn add_times(sums: &mut [f64], row: &[f64], factor: f64) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += value * factor;
    }
}

/// The elements of `tensor` from `start` on, as many as `row` holds.
fn widen(tensor: &Tensor, start: usize, row: &mut [f64]) {
    let end = start + row.len();
    match tensor.as_slice::<f32>() {
        Some(values) => {
            for (wide, value) in row.iter_mut().zip(&values[start..end]) {
                *wide = f64::from(*value);
            }
        }
        None => row.copy_from_slice(&tensor.f64_part(start..end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(shape: &[usize], values: &[f64]) -> Values<'static> {
        Values::Held(Array {
            shape: shape.to_vec(),
            values: values.to_vec(),
        })
    }

    fn all(values: &Values<'_>) -> Vec<f64> {
        values.held().values
    }

    #[test]
    fn inputs_are_rows_and_outputs_columns() {
        let map = held(&[2, 3], &[1.0, 2.0, 3.0, 5.0, 6.0, 7.0]);
        assert_eq!(map.means(Axis::Input), [3.0, 4.0, 5.0]);
        assert_eq!(map.means(Axis::Output), [2.0, 6.0]);
        let centred = map.clone().centred(Axis::Input);
        assert_eq!(all(&centred), [-2.0, -2.0, -2.0, 2.0, 2.0, 2.0]);
        let centred = map.clone().centred(Axis::Output);
        assert_eq!(all(&centred), [-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]);
        let gains = held(&[2], &[1.0, 10.0]);
        let gained = map.clone().gained(&gains).unwrap();
        assert_eq!(all(&gained), [1.0, 2.0, 3.0, 50.0, 60.0, 70.0]);
        let applied = map.applied_to(&gains).unwrap();
        assert_eq!(all(&applied), [51.0, 62.0, 73.0]);
    }

    #[test]
    fn each_head_is_a_map_of_its_own() {
        let heads = held(&[2, 2, 1], &[1.0, 3.0, 10.0, 30.0]);
        assert_eq!(heads.means(Axis::Input), [2.0, 20.0]);
        let centred = heads.clone().centred(Axis::Input);
        assert_eq!(all(&centred), [-1.0, 1.0, -10.0, 10.0]);
        let applied = heads.applied_to(&held(&[2], &[1.0, 2.0])).unwrap();
        assert_eq!(
            (applied.shape(), all(&applied)),
            (&[2, 1][..], vec![7.0, 70.0])
        );
    }

    #[test]
    fn a_head_of_values_serves_consecutive_heads() {
        let output = held(&[4, 1, 1], &[1.0, 10.0, 100.0, 1000.0]);
        let bias = held(&[2, 1], &[2.0, 3.0]);
        assert_eq!(all(&output.gathered(&bias).unwrap()), [3322.0]);
    }

    #[test]
    fn a_weight_of_an_answer_is_widened_whatever_its_type() {
        let values = [1.0_f32, -2.0, 0.1, 4.0];
        let single = Tensor::from_vec(values.to_vec(), &[2, 2]).unwrap();
        let double = Tensor::from_vec(values.map(f64::from).to_vec(), &[2, 2]).unwrap();
        let widened = [&single, &double].map(|tensor| all(&Values::Shown(tensor)));
        assert_eq!(widened, [values.map(f64::from), values.map(f64::from)]);
    }
}
