//! What can go wrong between a spec, a checkpoint and a request.

use tlbench_checkpoint::CheckpointError;
use tlbench_sdk::spec::CutError;
use tlbench_sdk::{ErrorKind, PluginError, ProcessingStep};

/// Why a model could not be opened or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The spec asks for something that the engine does not have yet.
    #[error("{component}: {feature} is not implemented by the engine")]
    NotImplemented {
        /// The component, named as its hooks are.
        component: String,
        /// What it asks for.
        feature: String,
    },
    /// The checkpoint does not hold what the spec takes.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint tensor cannot be cut as the spec says.
    #[error("{component}: {source}")]
    Cut {
        /// The component and role.
        component: String,
        /// The step.
        source: CutError,
    },
    /// A part has another shape than its component needs.
    #[error("{component}: expected shape {expected:?} after its cut, found {found:?}")]
    PartShape {
        /// The component and role.
        component: String,
        /// What it needs.
        expected: Vec<usize>,
        /// What the spec gives.
        found: Vec<usize>,
    },
    /// The request is wrong.
    #[error("{what}: expected {expected}, found {found}")]
    Request {
        /// The input, hook or operand.
        what: String,
        /// In words.
        expected: String,
        /// In words.
        found: String,
    },
    /// A step of weight processing would change what the model computes, or has nothing to do.
    #[error("{step} is not for this model: {reason}")]
    Refused {
        /// The step.
        step: ProcessingStep,
        /// In words.
        reason: String,
    },
    /// The request asks for something that the engine does not do yet.
    #[error("{0} cannot be answered by the engine yet")]
    Unanswerable(String),
    /// A closure of the caller failed.
    #[error("closure at {hook}: {source}")]
    Closure {
        /// The hook that it was called for.
        hook: String,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No gradient came back to something that takes part in the run: a bug of ours.
    #[error("no gradient of {of}: {detail}")]
    NoGradient {
        /// The hook or parameter.
        of: String,
        /// In words.
        detail: String,
    },
    /// candle failed: a bug of ours.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
}

impl EngineError {
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

    pub(crate) fn no_weight(name: &str) -> Self {
        Self::request(name, "a weight of this model", "none of that name")
    }

    pub(crate) fn not_implemented(component: &str, feature: impl Into<String>) -> Self {
        Self::NotImplemented {
            component: component.to_owned(),
            feature: feature.into(),
        }
    }
}

impl From<EngineError> for PluginError {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::NotImplemented { .. }
            | EngineError::Refused { .. }
            | EngineError::Unanswerable(_) => ErrorKind::Missing,
            EngineError::Checkpoint(_)
            | EngineError::Cut { .. }
            | EngineError::PartShape { .. }
            | EngineError::Request { .. } => ErrorKind::InvalidInput,
            EngineError::Closure { .. }
            | EngineError::NoGradient { .. }
            | EngineError::Candle(_) => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
