//! What a check ends in.

mod contradiction;

pub use contradiction::Contradiction;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::compare::{Closeness, Difference, Gate};
use crate::float;
use crate::trace::{Evaluation, Quantity};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Passed.
    Info,
    /// Passed, but noteworthy.
    Warning,
    /// Did not run, with a reason; never counted as passed.
    Skipped,
    /// Failed.
    Danger,
    /// Could not run.
    Error,
}

impl Severity {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 5] = [
        Self::Info,
        Self::Warning,
        Self::Danger,
        Self::Error,
        Self::Skipped,
    ];

    /// Whether the check passed.
    pub const fn passed(self) -> bool {
        matches!(self, Self::Info | Self::Warning)
    }

    /// Whether the check failed, or could not run.
    pub const fn is_red(self) -> bool {
        matches!(self, Self::Danger | Self::Error)
    }

    /// As reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Skipped => "SKIPPED",
            Self::Danger => "DANGER",
            Self::Error => "ERROR",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a benchmark found in one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it ended.
    pub severity: Severity,
    /// One line for a person.
    pub message: String,
    /// Every comparison that was made.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    /// The first hook, in execution order, that is wrong.
    #[serde(default)]
    pub first_divergence: Option<Divergence>,
    /// More for a person, as name and value.
    #[serde(default)]
    pub details: Vec<Detail>,
}

impl Verdict {
    /// A verdict without measurements.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            measurements: Vec::new(),
            first_divergence: None,
            details: Vec::new(),
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push(Detail {
            name: name.into(),
            value: value.into(),
        });
        self
    }
}

/// A name and a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What it is.
    pub name: String,
    /// How much or which.
    pub value: String,
}

/// One comparison of one quantity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was compared.
    pub quantity: Quantity,
    /// Whether errors could add up.
    pub evaluation: Evaluation,
    /// `difference.rms / floor`.
    #[serde(with = "float")]
    pub ratio: f64,
    /// The reference's own rounding error.
    #[serde(with = "float")]
    pub floor: f64,
    /// The verdict on it.
    pub severity: Severity,
    /// How far apart.
    pub difference: Difference,
    /// By fixed tolerances, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closeness: Option<Closeness>,
    /// What tells the rows, positions, heads and channels that are wrong from those that are right, in a few words each;
    /// empty where it passed, or where nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pattern: Vec<String>,
}

impl Measurement {
    /// The first position that by itself is beyond what passes.
    pub fn first_position_beyond_gate(&self) -> Option<usize> {
        let gate = Gate::for_rows(1).warning * self.floor;
        let mut by_position = self.difference.by_position.iter();
        by_position.position(|rms| rms.is_some_and(|rms| rms > gate))
    }
}

/// The first hook that is wrong, and why it is known to be this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// The hook or other quantity.
    pub quantity: Quantity,
    /// The comparison that found it.
    pub evaluation: Evaluation,
    /// Its error ratio there; infinite where the value is missing, of another shape, or not finite.
    #[serde(with = "float")]
    pub ratio: f64,
    /// What is wrong with it, in words.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_info_and_warning_pass() {
        let passed: Vec<&str> = Severity::ALL
            .into_iter()
            .filter(|s| s.passed())
            .map(Severity::name)
            .collect();
        assert_eq!(passed, ["INFO", "WARNING"]);
    }
}
