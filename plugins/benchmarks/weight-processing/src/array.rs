//! Values that are few enough to be held: biases, gains, and what formulas make of them.

use tlbench_sdk::PluginError;

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

/// Values in canonical layout: `[.., in, out]`, or `[.., out]` for a bias.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Array {
    pub(crate) fn plus(mut self, other: &Self) -> Result<Self, PluginError> {
        other.expect(&self.shape)?;
        for (value, summand) in self.values.iter_mut().zip(&other.values) {
            *value += summand;
        }
        Ok(self)
    }

    pub(crate) fn expect(&self, shape: &[usize]) -> Result<(), PluginError> {
        if self.shape == shape {
            Ok(())
        } else {
            Err(misfit(shape, &self.shape))
        }
    }
}

/// Inputs and outputs; a bias has one input.
pub(crate) const fn ends(shape: &[usize]) -> [usize; 2] {
    match *shape {
        [.., inputs, outputs] => [inputs, outputs],
        [outputs] => [1, outputs],
        [] => [1, 1],
    }
}

pub(crate) fn misfit(expected: &[usize], found: &[usize]) -> PluginError {
    PluginError::invalid_input(format!(
        "canonical weights do not fit each other: shape {found:?} beside {expected:?}"
    ))
}
