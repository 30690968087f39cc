//! What can go wrong with a model of candle-transformers.

use tlbench_checkpoint::CheckpointError;
use tlbench_sdk::{ErrorKind, PluginError, ShapeError};

/// Why a model could not be opened, or a question not be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// candle-transformers has no model of this family.
    #[error("candle-transformers has no model for model_type `{model_type}` (it has {known})")]
    NoPort { model_type: String, known: String },
    /// The port cannot say what the config says.
    #[error("candle-transformers cannot express `{key}`: expected {expected}, found {found}")]
    Inexpressible {
        key: &'static str,
        expected: &'static str,
        found: String,
    },
    /// The port's own reader refuses the config.
    #[error("candle-transformers' `{model_type}` cannot read the config: {source}")]
    Config {
        model_type: String,
        source: serde_json::Error,
    },
    /// The port's own loader refuses the weights.
    #[error("candle-transformers' `{model_type}` cannot load the checkpoint: {reason}")]
    Load { model_type: String, reason: String },
    /// The question has no answer here.
    #[error("candle-transformers' models {0}")]
    Unanswerable(&'static str),
    /// The question is wrong.
    #[error("{what}: expected {expected}, found {found}")]
    Request {
        what: &'static str,
        expected: String,
        found: String,
    },
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A shape that does not fit its elements: a bug of ours.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The SDK refuses the question.
    #[error(transparent)]
    Sdk(#[from] PluginError),
    /// The port failed while it ran.
    #[error("candle-transformers: {}", first_line(&.0.to_string()))]
    Candle(#[from] candle_core::Error),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// candle puts a backtrace below.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl From<Error> for PluginError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Sdk(refusal) => refusal.kind,
            Error::NoPort { .. } | Error::Inexpressible { .. } | Error::Unanswerable(_) => {
                ErrorKind::Unsupported
            }
            Error::Config { .. }
            | Error::Load { .. }
            | Error::Request { .. }
            | Error::Checkpoint(_) => ErrorKind::InvalidInput,
            Error::Shape(_) | Error::Candle(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
