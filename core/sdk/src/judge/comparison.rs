//! One comparison: a value of the subject against the reference's truth and floor.

use super::pattern::{Compared, pattern};
use super::wording::{evaluation_text, ratio_text};
use crate::benchmark::ModelInfo;
use crate::compare::{Axes, Gate, Region, Tolerance, allclose, compare, error_ratio};
use crate::error::PluginError;
use crate::result::{Divergence, Measurement, Severity};
use crate::tensor::Tensor;
use crate::trace::{ATTENTION_MASK, Evaluation, Quantity, Trace, TraceRequest};

/// What compares the answers to one question.
pub struct Comparison<'a> {
    model: &'a ModelInfo,
    region: Region,
    truth: &'a Trace,
}

/// What became of one comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was made.
    Measured(Measurement),
    /// It could not be: the subject's value is missing or of another shape.
    Broken(Divergence),
}

impl Outcome {
    /// What it says against the subject, if it does.
    pub fn divergence(&self) -> Option<Divergence> {
        match self {
            Self::Measured(measurement) if measurement.severity == Severity::Danger => {
                Some(divergence_of(measurement))
            }
            Self::Measured(_) => None,
            Self::Broken(divergence) => Some(divergence.clone()),
        }
    }
}

impl<'a> Comparison<'a> {
    /// Of the answers to `request`; `truth` holds the floors.
    ///
    /// # Errors
    /// If the question has no attention mask.
    pub fn new(
        model: &'a ModelInfo,
        request: &TraceRequest,
        truth: &'a Trace,
    ) -> Result<Self, PluginError> {
        let mask = request.inputs.get(ATTENTION_MASK);
        let region = mask.and_then(Region::new);
        let region =
            region.ok_or_else(|| PluginError::internal("a question without an attention mask"))?;
        Ok(Self {
            model,
            region,
            truth,
        })
    }

    /// The positions that count.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Each position that counts, among those of all rows.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        self.region.places()
    }

    /// Compares `value` with `truth`, by the floor of `quantity`.
    ///
    /// # Errors
    /// If the reference gives no floor.
    pub fn measure(
        &self,
        quantity: &Quantity,
        evaluation: Evaluation,
        value: Option<&Tensor>,
        truth: &Tensor,
    ) -> Result<Outcome, PluginError> {
        let broken = |reason: String| {
            Outcome::Broken(Divergence {
                quantity: quantity.clone(),
                evaluation,
                ratio: f64::INFINITY,
                reason,
            })
        };
        let Some(value) = value else {
            return Ok(broken("the subject does not produce it".into()));
        };
        let axes = self.axes(quantity);
        let difference = match compare(value, truth, axes, &self.region) {
            Ok(difference) => difference,
            Err(error) => return Ok(broken(error.to_string())),
        };
        let floor = self
            .truth
            .floor(quantity)
            .and_then(|f| f.at(evaluation, self.model.dtype, difference.truth_rms));
        let floor = floor.ok_or_else(|| {
            PluginError::invalid_input(format!(
                "the reference `{}` gives no floor for {quantity}",
                self.model.reference
            ))
        })?;
        let ratio = error_ratio(&difference, floor);
        let severity = Gate::for_rows(difference.rows).severity(ratio);
        let pattern = if severity == Severity::Danger {
            let region = &self.region;
            let compared = Compared {
                value,
                truth,
                axes,
                region,
            };
            pattern(self.model, quantity, compared, floor)
        } else {
            Vec::new()
        };
        Ok(Outcome::Measured(Measurement {
            quantity: quantity.clone(),
            evaluation,
            ratio,
            floor,
            severity,
            difference,
            closeness: None,
            pattern,
        }))
    }

    /// Compares one row of `value` with the same row of `truth`, cumulatively.
    ///
    /// # Errors
    /// If there is no such row, or the reference gives no floor.
    pub fn measure_row(
        &self,
        quantity: &Quantity,
        row: usize,
        value: &Tensor,
        truth: &Tensor,
    ) -> Result<Outcome, PluginError> {
        let missing = || PluginError::internal(format!("{quantity} has no row {row}"));
        let alone = Self {
            model: self.model,
            region: self.region.row(row).ok_or_else(missing)?,
            truth: self.truth,
        };
        let truth = truth.row(row).ok_or_else(missing)?;
        let value = value.row(row);
        alone.measure(quantity, Evaluation::Cumulative, value.as_ref(), &truth)
    }

    /// The same cumulatively, and also by fixed tolerances.
    ///
    /// # Errors
    /// If the reference gives no floor.
    pub fn measure_with_tolerance(
        &self,
        quantity: &Quantity,
        value: Option<&Tensor>,
        truth: &Tensor,
        tolerance: Tolerance,
    ) -> Result<Outcome, PluginError> {
        let mut outcome = self.measure(quantity, Evaluation::Cumulative, value, truth)?;
        if let (Outcome::Measured(measurement), Some(value)) = (&mut outcome, value) {
            measurement.closeness =
                allclose(value, truth, tolerance, self.axes(quantity), &self.region).ok();
        }
        Ok(outcome)
    }

    fn axes(&self, quantity: &Quantity) -> Axes {
        // A hook that only the reference knows is broken before its axes matter.
        Axes::of(quantity, &self.model.hooks).unwrap_or(Axes::Positions { pos: 1 })
    }
}

/// What is wrong with a value that was measured, and failed.
pub(super) fn divergence_of(measurement: &Measurement) -> Divergence {
    let kind = evaluation_text(measurement.evaluation);
    let reason = if measurement.difference.mismatched > 0 {
        format!(
            "{} elements are infinite or NaN on one side only ({kind})",
            measurement.difference.mismatched
        )
    } else {
        format!("{kind} error ratio {}", ratio_text(measurement.ratio))
    };
    Divergence {
        quantity: measurement.quantity.clone(),
        evaluation: measurement.evaluation,
        ratio: measurement.ratio,
        reason,
    }
}

/// The worst severity among measurements; INFO if there is none.
pub fn worst<'a>(measurements: impl IntoIterator<Item = &'a Measurement>) -> Severity {
    let rank = |severity: &Severity| match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Skipped | Severity::Danger | Severity::Error => 2,
    };
    measurements
        .into_iter()
        .map(|measurement| measurement.severity)
        .max_by_key(rank)
        .unwrap_or(Severity::Info)
}
