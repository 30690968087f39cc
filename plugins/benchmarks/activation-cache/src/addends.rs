//! Sums of activations in f64, with what their rounding can cost.

use tlbench_sdk::compare::{Axes, Region, compare};
use tlbench_sdk::{PluginError, Tensor};

/// A sum, and how its summands round.
pub(crate) struct Total {
    pub(crate) values: Vec<f64>,
    squares: f64,
    additions: usize,
}

impl Total {
    pub(crate) fn zero(elements: usize) -> Self {
        Self {
            values: vec![0.0; elements],
            squares: 0.0,
            additions: 0,
        }
    }

    /// Adds one summand of the RMS `rms`; `element(i)` is its part of element `i`.
    pub(crate) fn add(&mut self, rms: f64, element: impl Fn(usize) -> f64) {
        for (index, value) in self.values.iter_mut().enumerate() {
            *value += element(index);
        }
        self.squares += rms * rms;
    }

    /// Counts roundings.
    pub(crate) fn rounded(&mut self, times: usize) {
        self.additions += times;
    }

    /// The RMS error of a healthy computation: each addition is off by half a unit of what it adds up to.
    pub(crate) fn floor(&self, roundoff: f64, rms_of_sum: f64) -> f64 {
        roundoff * self.squares.sqrt().max(rms_of_sum) * (self.additions as f64).sqrt()
    }
}

/// The RMS of what counts in `tensor`.
pub(crate) fn rms(tensor: &Tensor, axes: Axes, region: &Region) -> Result<f64, PluginError> {
    let itself = compare(tensor, tensor, axes, region);
    let itself = itself.map_err(|error| PluginError::invalid_input(error.to_string()))?;
    Ok(itself.truth_rms)
}

/// The root of the mean square of a vector.
pub(crate) fn rms_of(values: &[f64]) -> f64 {
    let square: f64 = values.iter().map(|value| value * value).sum();
    (square / values.len().max(1) as f64).sqrt()
}
