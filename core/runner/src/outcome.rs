//! How a run ended, as a function of its events.

use serde::Serialize;
use tlbench_sdk::Severity;

use crate::events::Event;

/// How a run ended. Where several apply, the first in this order wins: evidence of a mistake before all else, then
/// what kept the run from being complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A check failed, or the suite notices too few mistakes.
    VerificationFailed,
    /// A plugin that was named, or that is one by its stamp, could not be used.
    PluginFailed,
    /// A check, a model or the reference that was asked for could not be had.
    CouldNotRun,
    /// No check applied.
    NothingSelected,
    /// Checks passed, and every other one was skipped.
    Passed,
}

impl Outcome {
    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::NothingSelected => 4,
            Self::PluginFailed => 98,
            Self::VerificationFailed => 100,
            Self::CouldNotRun => 101,
        }
    }

    /// From what happened.
    pub fn of(events: &[Event]) -> Self {
        let passed = |event: &Event| matches!(event, Event::CheckFinished(result) if result.passed);
        let of_event = |event: &Event| match event {
            Event::CheckFinished(result) => match result.severity {
                Severity::Danger => Some(Self::VerificationFailed),
                Severity::Error => Some(Self::CouldNotRun),
                Severity::Skipped if result.check.variant == UNVERIFIED => Some(Self::CouldNotRun),
                Severity::Info | Severity::Warning | Severity::Skipped => None,
            },
            Event::PluginProblem { fatal: true, .. } => Some(Self::PluginFailed),
            Event::SensitivityScored(score) if score.is_too_low() => Some(Self::VerificationFailed),
            Event::ModelFailed { .. } => Some(Self::CouldNotRun),
            _ => None,
        };
        let default = if events.iter().any(passed) {
            Self::Passed
        } else {
            Self::NothingSelected
        };
        events.iter().filter_map(of_event).min().unwrap_or(default)
    }
}

/// The name of the detail that says where a panic happened; a screen long, so that only who asks for details sees it.
pub(crate) const BACKTRACE: &str = "backtrace";

/// The variant of a check that stands for what a missing reference leaves unverified.
pub(crate) const UNVERIFIED: &str = "not_verified";

#[cfg(test)]
mod tests {
    use tlbench_sdk::{Mode, Tier, Verdict};

    use super::*;
    use crate::events::{BenchmarkResult, CheckId};

    fn check(severity: Severity, variant: &str) -> Event {
        let id = CheckId {
            model: "m".into(),
            mode: Mode::Raw,
            module: "module".into(),
            benchmark: "b".into(),
            reference: "r".into(),
            variant: variant.into(),
        };
        let result = BenchmarkResult::new(id, Tier::HuggingFace, Verdict::new(severity, ""), 0.0);
        Event::CheckFinished(Box::new(result))
    }

    fn problem(fatal: bool) -> Event {
        Event::PluginProblem {
            file: "p.so".into(),
            message: String::new(),
            fatal,
        }
    }

    fn failed() -> Event {
        Event::ModelFailed {
            model: "m".into(),
            message: String::new(),
        }
    }

    #[test]
    fn each_outcome_has_its_code_and_the_worst_news_wins() {
        let passed = || check(Severity::Info, "text");
        for (events, code) in [
            (vec![], 4),
            (vec![passed(), check(Severity::Warning, "text")], 0),
            (vec![passed(), check(Severity::Skipped, "text")], 0),
            (vec![passed(), check(Severity::Skipped, UNVERIFIED)], 101),
            (vec![passed(), check(Severity::Error, "text")], 101),
            (vec![failed()], 101),
            (vec![passed(), problem(false)], 0),
            (vec![passed(), problem(true)], 98),
            (vec![failed(), problem(true)], 98),
            (
                vec![failed(), problem(true), check(Severity::Danger, "text")],
                100,
            ),
        ] {
            assert_eq!(Outcome::of(&events).exit_code(), code, "{events:?}");
        }
    }
}
