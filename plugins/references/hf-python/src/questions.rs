//! What is asked of the worker, and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tlbench_sdk::{ErrorKind, HookPoint, PluginError, Stimulus};

use crate::floors::Measurements;

/// The version of the protocol; the worker ships with the plugin, so another one is another program.
pub(crate) const PROTOCOL: u32 = 1;

/// What can be asked.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    Open,
    Record,
}

impl Method {
    /// What a worker does that has said nothing else yet.
    pub(crate) const fn doing(self) -> &'static str {
        match self {
            Self::Open => "opening the checkpoint",
            Self::Record => "reading the inputs",
        }
    }
}

/// A request.
#[derive(Serialize)]
pub(crate) struct Question<P> {
    pub(crate) method: Method,
    pub(crate) params: P,
}

/// A message of the worker.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply<T> {
    Ok(T),
    Error(Failure),
    /// More is to come.
    Progress(String),
}

/// Why the worker could not answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: String,
    backtrace: Option<String>,
}

impl Failure {
    /// What has to do with the work, rather than with what was asked for, says which work it was.
    pub(crate) fn while_doing(self, doing: &str) -> PluginError {
        let error = PluginError {
            backtrace: self.backtrace,
            ..PluginError::new(self.kind, self.message)
        };
        match error.kind {
            ErrorKind::Unsupported | ErrorKind::InvalidInput => error,
            ErrorKind::Io | ErrorKind::Panic | ErrorKind::Internal => error.context(doing),
        }
    }
}

/// What the worker says first.
#[derive(Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
}

/// Parameters of `open`.
#[derive(Serialize)]
pub(crate) struct Open<'a> {
    pub(crate) model: &'a str,
    pub(crate) hooks: &'a [HookPoint],
    pub(crate) dtype: &'a str,
}

/// Where the answers come from.
pub(crate) type Provenance = BTreeMap<String, String>;

/// Parameters of `record`; their tensors travel beside them, as
/// `ID/inputs/input_ids` and so on.
#[derive(Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) stimuli: &'a [Stimulus],
    pub(crate) seed: u64,
}

/// What came out of `record`; the truth travels beside it, as `ID/QUANTITY`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// By stimulus: what was measured, which may be more than was asked for.
    pub(crate) answers: BTreeMap<String, Measurements>,
    /// What the worker checked before it vouched for its answers, and how well it held.
    pub(crate) checks: BTreeMap<String, f64>,
    /// What else a reader of the answers should know.
    pub(crate) notes: Vec<String>,
}
