//! `allclose`, as torch defines it.

use serde::{Deserialize, Serialize};

use super::difference::CompareError;
use super::region::{Axes, Region};
use crate::tensor::Tensor;

/// Fixed tolerances.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Absolute.
    pub atol: f64,
    /// Relative to the expected value.
    pub rtol: f64,
}

/// What [`allclose`] found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closeness {
    /// The tolerances.
    pub tolerance: Tolerance,
    /// Elements outside of them.
    pub outside: usize,
    /// Elements compared.
    pub elements: usize,
}

impl Closeness {
    /// Whether every element is within the tolerances.
    pub fn all(self) -> bool {
        self.outside == 0
    }
}

/// `|value - expected| <= atol + rtol * |expected|` for every element that counts.
///
/// Equal infinities are close, NaN is close to nothing
/// ([`torch.allclose`](https://docs.pytorch.org/docs/stable/generated/torch.allclose.html), `equal_nan=False`).
///
/// # Errors
/// If the shapes differ.
pub fn allclose(
    value: &Tensor,
    expected: &Tensor,
    tolerance: Tolerance,
    axes: Axes,
    region: &Region,
) -> Result<Closeness, CompareError> {
    if value.shape() != expected.shape() {
        return Err(CompareError::Shape {
            expected: expected.shape().to_vec(),
            found: value.shape().to_vec(),
        });
    }
    let (values, expecteds) = (value.to_f64_vec(), expected.to_f64_vec());
    let close = |value: f64, expected: f64| {
        value == expected
            || (expected.is_finite()
                && (value - expected).abs() <= tolerance.atol + tolerance.rtol * expected.abs())
    };
    let (mut outside, mut elements) = (0, 0);
    for run in region.runs(expected.shape(), axes) {
        elements += run.end - run.start;
        outside += (run.start..run.end)
            .filter(|&index| !close(values[index], expecteds[index]))
            .count();
    }
    Ok(Closeness {
        tolerance,
        outside,
        elements,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(value: f64, expected: f64, atol: f64, rtol: f64) -> usize {
        let region = Region::new(&Tensor::from_vec(vec![1_i64], &[1, 1]).unwrap()).unwrap();
        let tensor = |value| Tensor::from_vec(vec![value], &[1, 1, 1]).unwrap();
        allclose(
            &tensor(value),
            &tensor(expected),
            Tolerance { atol, rtol },
            Axes::Positions { pos: 1 },
            &region,
        )
        .unwrap()
        .outside
    }

    #[test]
    fn as_torch_defines_it() {
        let inf = f64::INFINITY;
        // The relative part is of the expected value, so the two sides are not symmetric.
        assert_eq!(outside(10.0, 11.0, 0.0, 0.095), 0);
        assert_eq!(outside(11.0, 10.0, 0.0, 0.095), 1);
        assert_eq!(outside(1.0, 1.0 + 1e-3, 1e-3 + 1e-12, 0.0), 0);
        assert_eq!(outside(inf, inf, 0.0, 0.0), 0);
        assert_eq!(outside(inf, -inf, 0.0, 0.0), 1);
        assert_eq!(outside(1e300, inf, 0.0, 0.5), 1);
        assert_eq!(outside(f64::NAN, f64::NAN, inf, 1.0), 1);
    }
}
