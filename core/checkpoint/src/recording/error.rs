//! What can be wrong with a recording.

use std::path::PathBuf;

use tlbench_sdk::{DType, ErrorKind, PluginError, Quantity};

use super::FORMAT;
use crate::error::CheckpointError;

/// A file that is no recording, or a recording that contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// What is wrong with any safetensors file.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// A safetensors file of another kind.
    #[error("{}: expected a recording (`tlbench_recording` in `__metadata__`), found other tensors", .file.display())]
    NotARecording {
        /// The file.
        file: PathBuf,
    },
    /// A recording of another time.
    #[error("{}: format {found}; this build reads {FORMAT} (make the recording again with `tlbench record`)", .file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// Text that is no JSON, or not of the expected structure.
    #[error("{}: `tlbench_recording`: line {line}, column {column}: {message}", .file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// From 1 on.
        line: usize,
        /// From 1 on.
        column: usize,
        /// What the parser expected and found.
        message: String,
    },
    /// A tensor that is missing, of another type or shape, or belongs to no answer.
    #[error("{}: tensor `{tensor}`: expected {expected}, found {found}", .file.display())]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// In words.
        expected: String,
        /// In words.
        found: String,
    },
    /// An RMS that cannot be one.
    #[error(
        "{}: answer {answer}: {part} floor of `{quantity}` in {precision}: expected a finite number that is not negative, found {found:?}",
        .file.display()
    )]
    Floor {
        /// The file.
        file: PathBuf,
        /// The answer, from 0 on.
        answer: usize,
        /// The quantity.
        quantity: Quantity,
        /// The precision that it is about.
        precision: DType,
        /// `cumulative` or `local`.
        part: &'static str,
        /// The floor.
        found: f64,
    },
    /// Floors of other precisions than those of the first plain answer.
    #[error("{}: answer {answer}: expected floors in {}, found them in {}", .file.display(), listed(.expected), listed(.found))]
    Precisions {
        /// The file.
        file: PathBuf,
        /// The answer, from 0 on.
        answer: usize,
        /// Those of the first plain answer.
        expected: Vec<DType>,
        /// Those of this one.
        found: Vec<DType>,
    },
    /// Two answers where there can be one.
    #[error("{}: expected one answer to a question, and names of their own, found answers {first} and {second} alike", .file.display())]
    Ambiguous {
        /// The file.
        file: PathBuf,
        /// One of them, from 0 on.
        first: usize,
        /// The other one.
        second: usize,
    },
    /// A recording that the format cannot hold.
    #[error("{}: answer {answer}: expected {expected}", .file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// The answer, from 0 on.
        answer: usize,
        /// In words.
        expected: &'static str,
    },
    /// A recording that is too large for the format.
    #[error("{}: cannot write it: {message}", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// What the writer said.
        message: String,
    },
}

fn listed(precisions: &[DType]) -> String {
    if precisions.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = precisions
        .iter()
        .map(|precision| precision.name())
        .collect();
    names.join(", ")
}

impl From<RecordingError> for PluginError {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::File(error) => error.into(),
            other => Self::new(ErrorKind::InvalidInput, other.to_string()),
        }
    }
}
