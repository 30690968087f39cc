//! What is asked of a worker, and what it answers.

use serde::{Deserialize, Serialize};
use tlbench_sdk::{ErrorKind, PluginError};

/// The version of the protocol; the worker ships with the plugin, so another one is another program.
pub(crate) const PROTOCOL: u32 = 1;

/// What can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// How the program calls it.
    pub name: &'static str,
    /// What a worker does that was asked, and has said nothing else yet.
    pub doing: &'static str,
}

/// A request.
#[derive(Serialize)]
pub(crate) struct Question<P> {
    pub(crate) method: &'static str,
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
            ErrorKind::Unsupported | ErrorKind::Missing | ErrorKind::InvalidInput => error,
            ErrorKind::Io | ErrorKind::Panic | ErrorKind::Internal => error.context(doing),
        }
    }
}

/// What the worker says first.
#[derive(Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
}
