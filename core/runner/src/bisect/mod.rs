//! `tlbench bisect`: the first operation that is wrong, with a file that shows it by itself.

mod error;
mod narrow;
mod operation;
mod path;
mod report;
mod reproduction;

use std::path::Path as FilePath;

use serde_json::{Map, Value};
use tlbench_sdk::{Detail, Divergence, PluginError, Tier};

use crate::config::{ModelEntry, RunSettings};
use crate::events::EventSink;
use crate::outcome::Outcome;
use crate::plugins::Registry;
use crate::room::Room;
use crate::session::Session;

pub use error::BisectError;
pub(crate) use narrow::Wrong;
pub(crate) use operation::{LOGITS, Operation};
pub(crate) use path::Path;
pub use report::{human, machine};
pub(crate) use reproduction::{Material, attention_of};
pub use reproduction::{REPRODUCTION_FILE, Reproduction};

/// What became of a model.
#[derive(Clone, Debug)]
pub struct Bisection {
    /// The model.
    pub model: String,
    /// Who was on trial.
    pub subject: String,
    /// Who it was compared with.
    pub reference: String,
    /// What that one is worth.
    pub tier: Tier,
    /// References that were asked for before that one and are not to be had, with the reason.
    pub unavailable: Vec<(String, String)>,
    /// Whether what those and refused inputs would have verified counts as missing.
    pub is_incomplete: bool,
    /// The inputs on which it was compared.
    pub inputs: Vec<String>,
    /// Those that it, or the reference, did not answer, with the reason.
    pub refused: Vec<(String, PluginError)>,
    /// What was found.
    pub finding: Finding,
}

/// What was found in a model.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Nothing is wrong.
    Right {
        /// How many values were compared.
        values: usize,
    },
    /// Something is.
    Wrong(Box<WrongValue>),
}

/// The first value that is wrong, and what made it.
#[derive(Clone, Debug)]
pub struct WrongValue {
    /// The value.
    pub divergence: Divergence,
    /// The input on which it is.
    pub input: String,
    /// What is known about it and its component.
    pub details: Vec<Detail>,
    /// The operations from values that are right to it.
    pub operations: Vec<Step>,
    /// What shows it by itself.
    pub evidence: Evidence,
}

/// What shows a wrong value by itself.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A file.
    File(Reproduction),
    /// Nothing: errors add up, and no operation is wrong on true inputs.
    Inherited,
    /// Nothing: there is no such value, or not of that shape.
    Missing,
}

/// One operation, for reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The hook that shows its result.
    pub result: String,
    /// How it is computed.
    pub formula: String,
    /// The spec's numbers and choices in it.
    pub parameters: Map<String, Value>,
}

impl From<Operation> for Step {
    fn from(operation: Operation) -> Self {
        Self {
            result: operation.result,
            formula: operation.formula,
            parameters: operation.parameters,
        }
    }
}

impl Bisection {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match &self.finding {
            Finding::Wrong(_) => Outcome::VerificationFailed,
            Finding::Right { .. } if self.is_incomplete => Outcome::CouldNotRun,
            Finding::Right { .. } => Outcome::Passed,
        }
        .exit_code()
    }
}

/// Compares the model of `entry` hook by hook with the best reference, each component on true inputs, and writes what
/// the first wrong one was given, and gave, to `out`.
///
/// # Errors
/// If model, subject or reference cannot be had or do not answer, or the file cannot be written.
pub fn bisect(
    entry: &ModelEntry,
    run: &RunSettings,
    registry: &Registry,
    options: &(dyn Fn(&str) -> Map<String, Value> + Sync),
    out: &FilePath,
    sink: &dyn EventSink,
) -> Result<Bisection, BisectError> {
    let room = Room::default();
    let session = Session {
        entry,
        run,
        registry,
        benchmarks: &[],
        reference_options: options,
        room: &room,
        sink,
    };
    session.bisect(out)
}
