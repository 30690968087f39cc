//! A weight beside what is expected of it, in one pass.

use crate::array::Axis;
use crate::means::Means;
use crate::rows::{self, larger};
use crate::values::Values;

/// The largest of what there is, each NaN where it has met one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// The largest absolute value that is expected.
    pub(crate) largest: f64,
    /// The largest absolute difference of an element.
    pub(crate) difference: f64,
    /// The largest absolute mean of the weight over each axis that was asked about.
    pub(crate) means: Vec<f64>,
}

impl Comparison {
    /// Of `value` and what is `expected`: values of the same shape, or one number.
    pub(crate) fn new(value: &Values<'_>, expected: &Values<'_>, axes: &[Axis]) -> Self {
        let ends = value.ends();
        let mut means: Vec<Means> = axes.iter().map(|axis| Means::new(*axis, ends)).collect();
        let (mut largest, mut difference) = (0.0, 0.0);
        let mut expected_row = vec![0.0; ends[1]];
        value.each_row(|index, row| {
            expected.fill(index, &mut expected_row);
            largest = larger(largest, rows::largest(&expected_row));
            let here = rows::largest_difference(row, &expected_row);
            difference = larger(difference, here);
            means.iter_mut().for_each(|means| means.see(index, row));
        });
        let means = means.into_iter().map(Means::finish);
        Self {
            largest,
            difference,
            means: means.map(|means| rows::largest(&means)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Array;

    fn held(values: &[f64]) -> Values<'static> {
        Values::Held(Array {
            shape: vec![2, 2],
            values: values.to_vec(),
        })
    }

    #[test]
    fn one_number_is_expected_of_every_element() {
        let value = held(&[1.0, 1.5, 1.0, 0.0]);
        let expected = Comparison {
            largest: 1.0,
            difference: 1.0,
            means: vec![],
        };
        let found = Comparison::new(&value, &Values::Constant(1.0), &[]);
        assert_eq!(found, expected);
    }

    #[test]
    fn means_are_told_of_the_axes_that_are_asked_about() {
        let value = held(&[1.0, 2.0, -9.0, 4.0]);
        let means = |axes: &[Axis]| Comparison::new(&value, &value, axes).means;
        assert_eq!(means(&[Axis::Input]), [4.0]);
        assert_eq!(means(&[Axis::Input, Axis::Output]), [4.0, 2.5]);
    }

    #[test]
    fn nan_is_the_largest_of_all() {
        let (value, nan) = (held(&[1.0; 4]), held(&[1.0, f64::NAN, 1.0, 1.0]));
        let wrong = Comparison::new(&nan, &value, &[Axis::Input]);
        assert!(wrong.difference.is_nan() && wrong.means[0].is_nan());
        assert_eq!(wrong.largest, 1.0);
        let unknown = Comparison::new(&value, &nan, &[Axis::Input]);
        assert!(unknown.difference.is_nan() && unknown.largest.is_nan());
        assert_eq!(unknown.means, [1.0]);
    }
}
