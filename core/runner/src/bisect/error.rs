//! Why a model could not be bisected.

use tlbench_checkpoint::CheckpointError;
use tlbench_sdk::spec::CutError;

use crate::model::ModelError;

/// Why a model could not be bisected.
#[derive(Debug, thiserror::Error)]
pub enum BisectError {
    /// The model cannot be read or opened.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A weight cannot be read, or the reproduction not be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There is nothing to compare with.
    #[error("{model}: no reference: {reasons}")]
    NoReference {
        /// The model.
        model: String,
        /// Why, for each that was asked for.
        reasons: String,
    },
    /// The reference shows no hook on any input, or somebody answers no question that goes hook by hook.
    #[error("{model}: nothing to compare hook by hook: {reason}")]
    NoHooks {
        /// The model.
        model: String,
        /// Why.
        reason: String,
    },
    /// A value or weight is not of the shape that the spec says.
    #[error("{name}: {error}")]
    Cut {
        /// The value or weight.
        name: String,
        /// What does not fit.
        error: CutError,
    },
    /// The folder of the reproduction cannot be made.
    #[error("{}: cannot be made: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
}
