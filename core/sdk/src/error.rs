//! What a plugin can fail with.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a plugin could not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The question does not apply, or the answer is not to be had here: a check is SKIPPED.
    Unsupported,
    /// Whoever was asked should have an answer, and has none. Of a subject that is a failure where the reference has one;
    /// of a reference it is as if the question did not apply.
    Missing,
    /// What was given is wrong: a config, a checkpoint, a request.
    InvalidInput,
    /// The operating system said no.
    Io,
    /// The plugin panicked; the object is poisoned.
    Panic,
    /// A bug in the plugin.
    Internal,
}

impl ErrorKind {
    /// Whether there is no answer, and nothing went wrong on the way to one.
    pub const fn is_no_answer(self) -> bool {
        matches!(self, Self::Unsupported | Self::Missing)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "unsupported",
            Self::Missing => "missing",
            Self::InvalidInput => "invalid input",
            Self::Io => "I/O error",
            Self::Panic => "panic",
            Self::Internal => "internal error",
        })
    }
}

/// An error as it crosses the plugin boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginError {
    /// The class of failure; decides between SKIPPED, DANGER and ERROR.
    pub kind: ErrorKind,
    /// One sentence, in lower case, without a full stop.
    pub message: String,
    /// What was being done, innermost first.
    pub context: Vec<String>,
    /// Where a panic happened, if one did.
    pub backtrace: Option<String>,
}

impl PluginError {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            context: Vec::new(),
            backtrace: None,
        }
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// [`ErrorKind::Missing`].
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Missing, message)
    }

    /// [`ErrorKind::InvalidInput`].
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// [`ErrorKind::Io`].
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Io, message)
    }

    /// [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds what was being done.
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.context.push(doing.into());
        self
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for PluginError {}

impl From<serde_json::Error> for PluginError {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid_input(error.to_string())
    }
}

/// What is sent breaks a rule.
macro_rules! from_broken_rule {
    ($($rule:ty),* $(,)?) => {$(
        impl From<$rule> for PluginError {
            fn from(error: $rule) -> Self {
                Self::invalid_input(error.to_string())
            }
        }
    )*};
}

from_broken_rule!(
    crate::benchmark::PlanError,
    crate::reference::StimulusError,
    crate::result::Contradiction,
    crate::spec::SpecError,
    crate::tensor::ShapeError,
    crate::trace::TraceError,
);
