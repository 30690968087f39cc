//! What can go wrong between a spec, a checkpoint and a question.

use tlbench_checkpoint::CheckpointError;
use tlbench_sdk::spec::CutError;
use tlbench_sdk::{ErrorKind, PluginError, ProcessingStep, ShapeError};

/// Why a model could not be opened, or a question not be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The spec asks for something that is not written down here.
    #[error("{component}: {feature} is not implemented by hooked-transformer")]
    NotImplemented {
        /// Named as its hooks are.
        component: String,
        feature: &'static str,
    },
    /// The question has no answer here.
    #[error("{0} is not answered by hooked-transformer")]
    Unanswerable(String),
    /// A step of weight processing would change what the model computes, or has nothing to do.
    #[error("{step}: {reason}")]
    Processing {
        step: ProcessingStep,
        reason: String,
    },
    /// The question is wrong.
    #[error("{what}: expected {expected}, found {found}")]
    Request {
        /// The input, hook, weight or operand.
        what: String,
        expected: String,
        found: String,
    },
    /// The checkpoint does not hold what the spec takes.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint tensor cannot be cut as the spec says.
    #[error("{weight}: {source}")]
    Cut { weight: String, source: CutError },
    /// A shape that does not fit its elements: a bug of ours.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The SDK refuses the question.
    #[error(transparent)]
    Sdk(#[from] PluginError),
    /// There is no thread to be had.
    #[error("cannot start a thread: {0}")]
    Thread(String),
    /// candle failed: a bug of ours.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn request(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Request {
            what: what.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

impl From<Error> for PluginError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Sdk(refusal) => refusal.kind,
            Error::NotImplemented { .. } | Error::Unanswerable(_) | Error::Processing { .. } => {
                ErrorKind::Unsupported
            }
            Error::Request { .. } | Error::Checkpoint(_) | Error::Cut { .. } => {
                ErrorKind::InvalidInput
            }
            Error::Thread(_) => ErrorKind::Io,
            Error::Shape(_) | Error::Candle(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
