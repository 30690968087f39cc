//! Verdicts that their own evidence speaks against.

use std::collections::BTreeSet;

use super::{Divergence, Measurement, Severity, Verdict};
use crate::benchmark::{Check, Judging};
use crate::excerpt::excerpt;
use crate::trace::{Quantity, Target};

/// A verdict that its own evidence speaks against.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// It passes on what is no number.
    #[error("passes, but its measurement of {quantity} is NaN")]
    PassesOnNan {
        /// What was measured.
        quantity: String,
    },
    /// It passes although something it measured does not.
    #[error("passes, but its measurement of {quantity} is {severity}")]
    PassesOnFailure {
        /// What was measured.
        quantity: String,
        /// How that ended.
        severity: Severity,
    },
    /// It passes and names what is wrong.
    #[error("passes, but names a first divergence at {quantity}")]
    PassesWithDivergence {
        /// Where.
        quantity: String,
    },
    /// It is about a hook that no model was asked for, and that none was edited at.
    #[error("judges the hook {hook}, which none of its requests asked for")]
    UnaskedHook {
        /// The hook.
        hook: String,
    },
}

impl Verdict {
    /// Whether the verdict on `check` agrees with its own measurements. Fixed tolerances may pass what the error ratio
    /// does not; NaN passes nowhere.
    ///
    /// # Errors
    /// Names the first that it contradicts.
    pub fn check(&self, check: &Check, judging: Judging) -> Result<(), Contradiction> {
        self.is_about(check)?;
        if !self.severity.passed() {
            return Ok(());
        }
        self.measurements.iter().try_for_each(not_nan)?;
        match judging {
            Judging::Tolerance => Ok(()),
            Judging::Calibrated => {
                self.measurements.iter().try_for_each(passed)?;
                self.first_divergence.as_ref().map_or(Ok(()), no_divergence)
            }
        }
    }

    /// Every hook that it judges was asked for, or edited.
    fn is_about(&self, check: &Check) -> Result<(), Contradiction> {
        let requests = || check.requests.iter().map(|planned| &planned.request);
        let captured = requests().flat_map(|request| &request.capture);
        let edited = requests().flat_map(|request| &request.interventions);
        let edited = edited.filter_map(|edit| match &edit.target {
            Target::Hook(name) | Target::HookGradient(name) => Some(name.as_str()),
            Target::Weight(_) => None,
        });
        let asked: BTreeSet<&str> = captured
            .filter_map(Quantity::as_hook)
            .chain(edited)
            .collect();
        let measured = self.measurements.iter().map(|m| &m.quantity);
        let diverging = self.first_divergence.iter().map(|d| &d.quantity);
        let mut hooks = measured.chain(diverging).filter_map(Quantity::as_hook);
        match hooks.find(|hook| !asked.contains(hook)) {
            None => Ok(()),
            Some(hook) => Err(Contradiction::UnaskedHook {
                hook: excerpt(hook),
            }),
        }
    }
}

fn not_nan(measurement: &Measurement) -> Result<(), Contradiction> {
    let Measurement {
        ratio,
        floor,
        difference,
        ..
    } = measurement;
    if [*ratio, *floor, difference.rms]
        .iter()
        .any(|value| value.is_nan())
    {
        let quantity = measurement.quantity.to_string();
        return Err(Contradiction::PassesOnNan { quantity });
    }
    Ok(())
}

fn passed(measurement: &Measurement) -> Result<(), Contradiction> {
    if measurement.severity.passed() {
        return Ok(());
    }
    Err(Contradiction::PassesOnFailure {
        quantity: measurement.quantity.to_string(),
        severity: measurement.severity,
    })
}

fn no_divergence(divergence: &Divergence) -> Result<(), Contradiction> {
    Err(Contradiction::PassesWithDivergence {
        quantity: divergence.quantity.to_string(),
    })
}
