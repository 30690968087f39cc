//! Why there is no twin.

use std::path::PathBuf;

use tlbench_checkpoint::CheckpointError;
use tlbench_sdk::PluginError;

use super::weights::DrawError;
use crate::model::ModelError;
use crate::record::RecordError;

/// Why there is no twin of a model.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// The model's config cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder or a file in it cannot be written.
    #[error("{}: cannot write it: {error}", file.display())]
    Output {
        /// The folder or file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is something already.
    #[error("{}: expected no folder of that name, or an empty one, found `{found}` in it", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// One of its files.
        found: String,
    },
    /// The adapter does not take the config that the twin would have.
    #[error("{}: no twin can be made: of the small config the adapter says: {error}", file.display())]
    Refused {
        /// The model's config.
        file: PathBuf,
        /// What it says.
        error: PluginError,
    },
    /// The twin would be of other features.
    #[error("{}: no twin can be made: {place}: expected {expected} as in the model, found {found}", file.display())]
    Unlike {
        /// The model's config.
        file: PathBuf,
        /// Where in the spec.
        place: String,
        /// The model's.
        expected: String,
        /// The twin's.
        found: String,
    },
    /// The twin would be large.
    #[error("{}: no twin can be made: tensor `{tensor}`: expected dimensions up to {limit} with small sizes in the config, found {shape:?}", file.display())]
    Large {
        /// The model's config.
        file: PathBuf,
        /// A tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What would do.
        limit: usize,
    },
    /// The spec cannot have weights.
    #[error("{}: {error}", file.display())]
    Draw {
        /// The model's config.
        file: PathBuf,
        /// Why.
        error: DrawError,
    },
    /// The twin is there, and its recording is not.
    #[error(transparent)]
    Record(#[from] RecordError),
}
