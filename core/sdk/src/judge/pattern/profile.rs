//! How large the error is in each slice of a tensor.

use std::iter::zip;

use super::axis::Axis;
use crate::compare::{Axes, Gate, Region};
use crate::result::Severity;
use crate::tensor::Tensor;

/// Two tensors of one shape, and what of them counts.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub(crate) value: &'a Tensor,
    pub(crate) truth: &'a Tensor,
    pub(crate) axes: Axes,
    pub(crate) region: &'a Region,
}

/// The error in each slice along one axis; `None` where nothing counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile(Vec<Option<f64>>);

/// Which slices are wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Every one.
    All,
    /// These of the `counted` ones, and the others are right.
    These {
        wrong: Vec<usize>,
        counted: Vec<usize>,
    },
    /// Some lie between wrong and right, or none is wrong by itself.
    Unclear,
}

impl Profile {
    /// One for each of `axes`.
    pub(super) fn of_each(compared: &Compared<'_>, axes: &[Axis]) -> Vec<Self> {
        let mut slices: Vec<Vec<Slice>> = axes
            .iter()
            .map(|axis| vec![Slice::default(); axis.slices])
            .collect();
        let shape = compared.truth.shape();
        let mut place = vec![0; shape.len()];
        for run in compared.region.runs(shape, compared.axes) {
            let range = run.start..run.end;
            let values = compared.value.f64_part(range.clone());
            let truths = compared.truth.f64_part(range.clone());
            for (index, (value, truth)) in zip(range, zip(values, truths)) {
                unravel(index, shape, &mut place);
                for (axis, slices) in zip(axes, &mut slices) {
                    slices[axis.slice(&place)].add(value, truth);
                }
            }
        }
        let errors = |slices: Vec<Slice>| Self(slices.into_iter().map(Slice::error).collect());
        slices.into_iter().map(errors).collect()
    }

    /// Which slices are wrong by `floor`.
    pub(super) fn wrong(&self, floor: f64) -> Wrong {
        let gate = Gate::for_rows(1);
        let (mut wrong, mut counted) = (Vec::new(), Vec::new());
        for (slice, error) in self.counted() {
            counted.push(slice);
            // An error of nothing is none, whatever the floor.
            let ratio = if error == 0.0 { 0.0 } else { error / floor };
            match gate.severity(ratio) {
                Severity::Danger => wrong.push(slice),
                Severity::Warning => return Wrong::Unclear,
                _ => {}
            }
        }
        match wrong.len() {
            0 => Wrong::Unclear,
            len if len == counted.len() => Wrong::All,
            _ => Wrong::These { wrong, counted },
        }
    }

    /// The slices in which something counts, and their errors.
    pub(super) fn counted(&self) -> impl Iterator<Item = (usize, f64)> {
        let slices = self.0.iter().enumerate();
        slices.filter_map(|(slice, error)| Some((slice, (*error)?)))
    }
}

#[derive(Clone, Copy, Default)]
struct Slice {
    squares: f64,
    finite: usize,
    agreeing: usize,
    mismatched: usize,
}

impl Slice {
    fn add(&mut self, value: f64, truth: f64) {
        if value.is_finite() && truth.is_finite() {
            self.squares += (value - truth).powi(2);
            self.finite += 1;
        } else if value == truth {
            self.agreeing += 1;
        } else {
            self.mismatched += 1;
        }
    }

    /// The RMS error; infinite where one side is.
    fn error(self) -> Option<f64> {
        match self {
            Self {
                mismatched: 1.., ..
            } => Some(f64::INFINITY),
            Self {
                finite: 0,
                agreeing: 0,
                ..
            } => None,
            Self { finite: 0, .. } => Some(0.0),
            Self {
                squares, finite, ..
            } => Some((squares / finite as f64).sqrt()),
        }
    }
}

fn unravel(mut index: usize, shape: &[usize], place: &mut [usize]) {
    for (slot, &size) in place.iter_mut().zip(shape).rev() {
        *slot = index % size;
        index /= size;
    }
}
