//! Arithmetic on weights.

use tlbench_sdk::{PluginError, Tensor};

/// `values` in the shape of `like`.
pub(crate) fn shaped(values: Vec<f64>, like: &Tensor) -> Result<Tensor, PluginError> {
    Ok(Tensor::from_vec(values, like.shape())?)
}

/// Less the mean over one dimension.
pub(crate) fn centred(tensor: &Tensor, dim: usize) -> Result<Tensor, PluginError> {
    let mut values = tensor.to_f64_vec();
    let size = tensor.shape()[dim];
    let stride: usize = tensor.shape()[dim + 1..].iter().product();
    let starts = (0..values.len()).filter(|at| (at / stride).is_multiple_of(size));
    for start in starts {
        let places = || (0..size).map(|index| start + index * stride);
        let mean = places().map(|at| values[at]).sum::<f64>() / size as f64;
        for at in places() {
            values[at] -= mean;
        }
    }
    shaped(values, tensor)
}

/// Row `row` of the first dimension replaced.
pub(crate) fn with_row(
    tensor: &Tensor,
    row: usize,
    change: impl Fn(usize, f64) -> f64,
) -> Result<Tensor, PluginError> {
    let mut values = tensor.to_f64_vec();
    let width = values.len() / tensor.shape()[0];
    for (column, value) in values[row * width..][..width].iter_mut().enumerate() {
        *value = change(column, *value);
    }
    shaped(values, tensor)
}
