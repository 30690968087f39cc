//! How far a tensor is from the truth.

use serde::{Deserialize, Serialize};

use super::region::{Axes, Region};
use crate::float;
use crate::tensor::{Tensor, parts};

/// How far a tensor is from the truth, over the elements that count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Root of the mean squared difference.
    #[serde(with = "float")]
    pub rms: f64,
    /// Root of the mean square of the truth.
    #[serde(with = "float")]
    pub truth_rms: f64,
    /// The largest absolute difference.
    #[serde(with = "float")]
    pub max_abs: f64,
    /// The norm of the difference over the norm of the truth.
    #[serde(with = "float")]
    pub relative_l2: f64,
    /// The cosine between the two; 1 if both are 0.
    #[serde(with = "float")]
    pub cosine: f64,
    /// Positions that count.
    pub rows: usize,
    /// Elements that count and are finite on both sides.
    pub elements: usize,
    /// Elements of which one side is NaN, or infinite where the other is not, or infinite of the other sign. Equal
    /// infinities (masked scores) agree.
    pub mismatched: usize,
    /// Where the difference is largest, as an index into the tensor.
    pub worst: Option<Vec<usize>>,
    /// The RMS difference by position of the input, averaged over rows; empty where no dimension counts positions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_position: Vec<Option<f64>>,
}

/// Two tensors that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Their shapes differ.
    #[error("shape {found:?} where the truth has {expected:?}")]
    Shape {
        /// The truth's.
        expected: Vec<usize>,
        /// The subject's.
        found: Vec<usize>,
    },
    /// Nothing is left after padding was taken out.
    #[error("no element counts")]
    Empty,
}

/// Compares `value` with `truth` where `region` says that there are tokens.
///
/// # Errors
/// If the shapes differ, or nothing counts.
pub fn compare(
    value: &Tensor,
    truth: &Tensor,
    axes: Axes,
    region: &Region,
) -> Result<Difference, CompareError> {
    if value.shape() != truth.shape() {
        return Err(CompareError::Shape {
            expected: truth.shape().to_vec(),
            found: value.shape().to_vec(),
        });
    }
    let runs = region.runs(truth.shape(), axes);
    if runs.iter().all(|run| run.start == run.end) {
        return Err(CompareError::Empty);
    }
    let mut sums = Sums::default();
    let mut positions: Vec<(f64, usize)> = Vec::new();
    for run in &runs {
        let before = (sums.error, sums.elements);
        for part in parts(run.start..run.end) {
            let pairs = value
                .f64_part(part.clone())
                .into_iter()
                .zip(truth.f64_part(part.clone()));
            for (index, (value, truth)) in part.zip(pairs) {
                sums.add(index, value, truth);
            }
        }
        if axes != Axes::Whole {
            if positions.len() <= run.pos {
                positions.resize(run.pos + 1, (0.0, 0));
            }
            positions[run.pos].0 += sums.error - before.0;
            positions[run.pos].1 += sums.elements - before.1;
        }
    }
    let by_position = positions
        .iter()
        .map(|&(sum, n)| (n > 0).then(|| (sum / n as f64).sqrt()))
        .collect();
    Ok(sums.finish(truth.shape(), region.rows(axes), by_position))
}

#[derive(Default)]
struct Sums {
    error: f64,
    truth: f64,
    value: f64,
    product: f64,
    max_abs: f64,
    worst: Option<usize>,
    elements: usize,
    mismatched: usize,
}

impl Sums {
    fn add(&mut self, index: usize, value: f64, truth: f64) {
        if !(value.is_finite() && truth.is_finite()) {
            // NaN equals nothing; infinities agree if they are the same.
            if value != truth {
                if self.mismatched == 0 {
                    self.worst = Some(index);
                }
                self.mismatched += 1;
            }
            return;
        }
        let difference = value - truth;
        self.elements += 1;
        self.error += difference * difference;
        self.truth += truth * truth;
        self.value += value * value;
        self.product += value * truth;
        if difference.abs() > self.max_abs {
            self.max_abs = difference.abs();
            if self.mismatched == 0 {
                self.worst = Some(index);
            }
        }
    }

    fn finish(self, shape: &[usize], rows: usize, by_position: Vec<Option<f64>>) -> Difference {
        let count = self.elements.max(1) as f64;
        let ratio = |over: f64, under: f64| if over == 0.0 { 0.0 } else { over / under };
        let cosine = if self.value == 0.0 && self.truth == 0.0 {
            1.0
        } else {
            ratio(self.product, (self.value * self.truth).sqrt())
        };
        Difference {
            rms: (self.error / count).sqrt(),
            truth_rms: (self.truth / count).sqrt(),
            max_abs: self.max_abs,
            relative_l2: ratio(self.error.sqrt(), self.truth.sqrt()),
            cosine,
            rows,
            elements: self.elements,
            mismatched: self.mismatched,
            worst: self.worst.map(|index| unravel(index, shape)),
            by_position,
        }
    }
}

fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for (slot, &size) in place.iter_mut().zip(shape).rev() {
        *slot = index % size;
        index /= size;
    }
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PER_POSITION: Axes = Axes::Positions { pos: 1 };

    fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
        Tensor::from_vec(values.to_vec(), shape).unwrap()
    }

    fn all(batch: usize, pos: usize) -> Region {
        Region::new(&Tensor::from_vec(vec![1_i64; batch * pos], &[batch, pos]).unwrap()).unwrap()
    }

    #[test]
    fn the_figures() {
        let truth = tensor(&[3.0, 0.0, 0.0, 4.0], &[1, 2, 2]);
        let value = tensor(&[3.0, 0.0, 1.0, 4.0], &[1, 2, 2]);
        let difference = compare(&value, &truth, PER_POSITION, &all(1, 2)).unwrap();
        assert_eq!(difference.rms, 0.5);
        assert_eq!(difference.truth_rms, 2.5);
        assert_eq!(difference.max_abs, 1.0);
        assert_eq!(difference.relative_l2, 0.2);
        assert_eq!(difference.worst, Some(vec![0, 1, 0]));
        assert_eq!(difference.by_position, [Some(0.0), Some(0.5_f64.sqrt())]);
        assert_eq!(difference.rows, 2);
    }

    #[test]
    fn nan_and_infinity_are_explicit() {
        let inf = f64::INFINITY;
        let truth = tensor(&[-inf, 1.0, inf, -inf, f64::NAN], &[1, 1, 5]);
        let value = tensor(&[-inf, f64::NAN, -inf, 0.0, f64::NAN], &[1, 1, 5]);
        let difference = compare(&value, &truth, PER_POSITION, &all(1, 1)).unwrap();
        assert_eq!((difference.mismatched, difference.elements), (4, 0));
        assert_eq!(difference.worst, Some(vec![0, 0, 1]));
    }

    #[test]
    fn padding_is_not_compared() {
        let region = Region::new(&Tensor::from_vec(vec![0_i64, 1], &[1, 2]).unwrap()).unwrap();
        let difference = compare(
            &tensor(&[9.0, 1.0], &[1, 2, 1]),
            &tensor(&[f64::NAN, 1.0], &[1, 2, 1]),
            PER_POSITION,
            &region,
        )
        .unwrap();
        assert_eq!((difference.rms, difference.mismatched), (0.0, 0));
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        let error = compare(
            &tensor(&[0.0; 4], &[1, 2, 2]),
            &tensor(&[0.0; 6], &[1, 2, 3]),
            PER_POSITION,
            &all(1, 2),
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "shape [1, 2, 2] where the truth has [1, 2, 3]"
        );
        let empty = Tensor::from_vec::<f64>(vec![], &[1, 2, 0]).unwrap();
        assert_eq!(
            compare(&empty, &empty, PER_POSITION, &all(1, 2)),
            Err(CompareError::Empty)
        );
    }

    proptest! {
        #[test]
        fn a_tensor_is_no_distance_from_itself(values in prop::collection::vec(-1e6_f64..1e6, 6)) {
            let x = tensor(&values, &[1, 2, 3]);
            let difference = compare(&x, &x, PER_POSITION, &all(1, 2)).unwrap();
            prop_assert_eq!((difference.rms, difference.max_abs, difference.mismatched), (0.0, 0.0, 0));
        }

        #[test]
        fn rms_lies_between_zero_and_the_maximum(a in prop::collection::vec(-9.0_f64..9.0, 6), b in prop::collection::vec(-9.0_f64..9.0, 6)) {
            let difference = compare(&tensor(&a, &[1, 2, 3]), &tensor(&b, &[1, 2, 3]), PER_POSITION, &all(1, 2)).unwrap();
            prop_assert!(difference.rms <= difference.max_abs * (1.0 + 1e-12));
            prop_assert!((-1.0 - 1e-12..=1.0 + 1e-12).contains(&difference.cosine));
        }
    }
}
