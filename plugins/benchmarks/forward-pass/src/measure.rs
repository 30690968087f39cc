//! One comparison: a value of the subject against the reference's truth and floor.

use tlbench_sdk::compare::{Axes, Gate, Region, Tolerance, allclose, compare, error_ratio};
use tlbench_sdk::{
    ATTENTION_MASK, Check, Divergence, Evaluation, Measurement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Severity, Stimulus, Tensor, Trace, TraceRequest,
};

/// What compares values on one stimulus.
pub(crate) struct Comparison<'a> {
    model: &'a ModelInfo,
    region: Region,
    truth: &'a Trace,
}

/// What became of one comparison.
pub(crate) enum Outcome {
    /// It was made.
    Measured(Measurement),
    /// It could not be: the subject's value is missing or of another shape.
    Broken(Divergence),
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(
        model: &'a ModelInfo,
        check: &Check,
        truth: &'a Trace,
    ) -> Result<Self, PluginError> {
        let mask = check
            .requests
            .first()
            .and_then(|planned| planned.request.inputs.get(ATTENTION_MASK));
        let region = mask.and_then(Region::new);
        let region =
            region.ok_or_else(|| PluginError::internal("a check without an attention mask"))?;
        Ok(Self {
            model,
            region,
            truth,
        })
    }

    /// The positions that count.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Compares `value` with the truth of `quantity`.
    pub(crate) fn measure(
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
        Ok(Outcome::Measured(Measurement {
            quantity: quantity.clone(),
            evaluation,
            ratio,
            floor,
            severity,
            difference,
            closeness: None,
        }))
    }

    /// The same, also by fixed tolerances.
    pub(crate) fn measure_with_tolerance(
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

/// The quantities of a stimulus that the subject can be asked for.
pub(crate) fn askable(model: &ModelInfo, stimulus: &Stimulus) -> Vec<Quantity> {
    let known = |quantity: &&Quantity| match quantity.as_hook() {
        Some(name) => model.hooks.iter().any(|hook| hook.name == name),
        None => true,
    };
    stimulus.quantities.iter().filter(known).cloned().collect()
}

/// A check that asks reference and subject the same on `stimulus`.
pub(crate) fn ask_both(stimulus: &Stimulus, capture: Vec<Quantity>) -> Check {
    let request = TraceRequest::new(stimulus.inputs.clone(), capture);
    Check {
        variant: stimulus.id.clone(),
        requests: vec![
            PlannedRequest::reference(request.clone()),
            PlannedRequest::subject(request),
        ],
    }
}

/// The checks, or that there is nothing to check: `needed` is shown on no input.
pub(crate) fn applicable(checks: Vec<Check>, needed: &str) -> Result<Vec<Check>, PluginError> {
    if checks.is_empty() {
        let message = format!("the reference shows {needed} on no input");
        return Err(PluginError::unsupported(message));
    }
    Ok(checks)
}

/// The stimulus that `check` is about.
pub(crate) fn stimulus<'a>(
    model: &'a ModelInfo,
    check: &Check,
) -> Result<&'a Stimulus, PluginError> {
    let found = model
        .stimuli
        .iter()
        .find(|stimulus| stimulus.id == check.variant);
    found.ok_or_else(|| {
        PluginError::internal(format!("a check of the unknown input `{}`", check.variant))
    })
}

/// The truth of `quantity`, which the reference was asked for.
pub(crate) fn truth_of<'a>(
    truth: &'a Trace,
    quantity: &Quantity,
) -> Result<&'a Tensor, PluginError> {
    truth
        .value(quantity)
        .ok_or_else(|| PluginError::internal(format!("the reference left out {quantity}")))
}

/// The worst severity among measurements.
pub(crate) fn worst<'a>(measurements: impl IntoIterator<Item = &'a Measurement>) -> Severity {
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
