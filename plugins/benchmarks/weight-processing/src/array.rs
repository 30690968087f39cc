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

/// A weight of an answer. Only a row of it is widened at a time: the largest weight of a model takes as much memory as
/// several layers.
#[derive(Clone, Debug)]
pub(crate) struct Weight(Tensor);

impl From<&Tensor> for Weight {
    fn from(tensor: &Tensor) -> Self {
        Self(tensor.clone())
    }
}

impl Weight {
    pub(crate) fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    /// All of it in f64.
    pub(crate) fn array(&self) -> Array {
        Array::from(&self.0)
    }

    /// The largest absolute value; NaN where there is one.
    pub(crate) fn largest(&self) -> f64 {
        self.rows().map(|row| largest(&row)).fold(0.0, larger)
    }

    /// The root of the mean square.
    pub(crate) fn rms(&self) -> f64 {
        let square = self.rows().map(|row| sum_of_squares(&row)).sum::<f64>();
        (square / self.0.len().max(1) as f64).sqrt()
    }

    /// The means over `axis`, in the order of what is left.
    pub(crate) fn means(&self, axis: Axis) -> Vec<f64> {
        means(self.rows(), ends(self.shape()), axis)
    }

    /// The largest absolute difference from `expected`, whose one number stands for every element if it has no dimension;
    /// NaN where there is one.
    pub(crate) fn distance(&self, expected: &Array) -> f64 {
        expected.distance(self.rows())
    }

    /// Its values, one row of outputs after the other.
    fn rows(&self) -> impl Iterator<Item = Vec<f64>> {
        let [_, outputs] = ends(self.shape());
        let starts = (0..self.0.len()).step_by(outputs.max(1));
        starts.map(move |start| self.0.f64_part(start..start + outputs))
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

    /// The largest absolute value; NaN where there is one.
    pub(crate) fn largest(&self) -> f64 {
        largest(&self.values)
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
        for (row, values) in self.values.chunks_mut(outputs.max(1)).enumerate() {
            match axis {
                Axis::Output => values.iter_mut().for_each(|value| *value -= means[row]),
                Axis::Input => {
                    let means = &means[row / inputs * outputs..];
                    for (value, mean) in values.iter_mut().zip(means) {
                        *value -= mean;
                    }
                }
            }
        }
        self
    }

    /// The means over `axis`, in the order of what is left.
    pub(crate) fn means(&self, axis: Axis) -> Vec<f64> {
        means(self.rows(), self.ends(), axis)
    }

    /// Its values, one row of outputs after the other.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks(self.ends()[1].max(1))
    }

    /// The largest absolute difference of what has the rows `others`; NaN where there is one.
    pub(crate) fn distance(&self, others: impl Iterator<Item = impl AsRef<[f64]>>) -> f64 {
        let mut start = 0;
        others.fold(0.0, |largest, row| {
            let row = row.as_ref();
            let values = if self.shape.is_empty() {
                &self.values[..]
            } else {
                &self.values[start..][..row.len()]
            };
            start += row.len();
            let pairs = row.iter().zip(values.iter().cycle());
            pairs.map(|(a, b)| (a - b).abs()).fold(largest, larger)
        })
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
        let mut values = vec![0.0; self.values.len() / inputs.max(1)];
        for (row, weights) in self.values.chunks(outputs.max(1)).enumerate() {
            let shift = shift.values[row % inputs];
            for (value, weight) in values[row / inputs * outputs..].iter_mut().zip(weights) {
                *value += weight * shift;
            }
        }
        let mut shape = self.shape.clone();
        shape.remove(shape.len().saturating_sub(2));
        Ok(Self { shape, values })
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

    fn ends(&self) -> [usize; 2] {
        ends(&self.shape)
    }

    fn expect(&self, shape: &[usize]) -> Result<(), PluginError> {
        if self.shape == shape {
            Ok(())
        } else {
            Err(misfit(shape, &self.shape))
        }
    }
}

/// Inputs and outputs; a bias has one input.
const fn ends(shape: &[usize]) -> [usize; 2] {
    match *shape {
        [.., inputs, outputs] => [inputs, outputs],
        [outputs] => [1, outputs],
        [] => [1, 1],
    }
}

/// The means over `axis` of matrices `[inputs, outputs]`, one row after the other, in the order of what is left.
fn means(
    rows: impl Iterator<Item = impl AsRef<[f64]>>,
    [inputs, outputs]: [usize; 2],
    axis: Axis,
) -> Vec<f64> {
    match axis {
        Axis::Output => rows
            .map(|row| row.as_ref().iter().sum::<f64>() / outputs as f64)
            .collect(),
        Axis::Input => {
            let mut sums = Vec::new();
            for (index, row) in rows.enumerate() {
                let matrix = index / inputs * outputs;
                sums.resize(matrix + outputs, 0.0);
                for (sum, value) in sums[matrix..].iter_mut().zip(row.as_ref()) {
                    *sum += value;
                }
            }
            sums.iter().map(|sum| sum / inputs as f64).collect()
        }
    }
}

fn sum_of_squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// The largest absolute value; NaN where there is one.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().map(|value| value.abs()).fold(0.0, larger)
}

/// The larger one, or NaN if one is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
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
        assert_eq!(centred.values, [-2.0, -2.0, -2.0, 2.0, 2.0, 2.0]);
        let gained = map.clone().gained(&array(&[2], &[1.0, 10.0])).unwrap();
        assert_eq!(gained.values, [1.0, 2.0, 3.0, 50.0, 60.0, 70.0]);
        let applied = map.applied_to(&array(&[2], &[1.0, 10.0])).unwrap();
        assert_eq!(applied.values, [51.0, 62.0, 73.0]);
    }

    #[test]
    fn each_head_is_a_map_of_its_own() {
        let heads = array(&[2, 2, 1], &[1.0, 3.0, 10.0, 30.0]);
        assert_eq!(heads.means(Axis::Input), [2.0, 20.0]);
        assert_eq!(
            heads.clone().centred(Axis::Input).values,
            [-1.0, 1.0, -10.0, 10.0]
        );
        let applied = heads.applied_to(&array(&[2], &[1.0, 2.0])).unwrap();
        assert_eq!(
            (applied.shape(), &applied.values[..]),
            (&[2, 1][..], &[7.0, 70.0][..])
        );
    }

    #[test]
    fn a_head_of_values_serves_consecutive_heads() {
        let output = array(&[4, 1, 1], &[1.0, 10.0, 100.0, 1000.0]);
        let bias = array(&[2, 1], &[2.0, 3.0]);
        assert_eq!(output.gathered(&bias).unwrap().values, [3322.0]);
    }
}
