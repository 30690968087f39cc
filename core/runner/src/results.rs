//! What became of the checks of one run.

use std::fmt;

use crate::events::{BenchmarkResult, Event};
use crate::outcome::Outcome;
use crate::report::{self, Style};

/// What became of the checks of one run. As text it is a line for each, with details of those that did not pass, after a
/// line for each model and plugin that could not be used.
#[derive(Clone, Debug)]
#[must_use = "results that nobody looks at prove nothing"]
pub struct Results {
    events: Vec<Event>,
}

impl Results {
    pub(crate) fn new(events: Vec<Event>) -> Self {
        Self { events }
    }

    /// Whether checks passed, and every other one was skipped with a reason. What a missing reference leaves unverified
    /// has not passed, nor has a run without checks.
    pub fn passed(&self) -> bool {
        self.outcome() == Outcome::Passed
    }

    /// How the run ended.
    pub fn outcome(&self) -> Outcome {
        Outcome::of(&self.events)
    }

    /// What became of each check.
    pub fn iter(&self) -> impl Iterator<Item = &BenchmarkResult> {
        self.events.iter().filter_map(|event| match event {
            Event::CheckFinished(result) => Some(&**result),
            _ => None,
        })
    }

    /// Everything that happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The report of the command.
    pub fn report(&self) -> String {
        report::human(&self.events, Style::Plain, false)
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(report::lines(&self.events).trim_end())
    }
}

/// As it stands in a report.
impl fmt::Display for BenchmarkResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = Event::CheckFinished(Box::new(self.clone()));
        f.write_str(report::lines(&[event]).trim_end())
    }
}
