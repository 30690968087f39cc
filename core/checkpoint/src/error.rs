//! What can be wrong with a model folder.

use std::io;
use std::path::PathBuf;

use tlbench_sdk::{ErrorKind, PluginError};

use crate::weights::{HeaderProblem, IndexProblem};

/// A model folder, or a file of one, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system said no.
    #[error("{}: cannot {action} it: {source}", .file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was tried (`open`, `read`).
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The path is no model folder.
    #[error("{}: expected a folder with a config.json, found {found}", .path.display())]
    NotAModelFolder {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// The path of a file is something else.
    #[error("{}: expected a file, found a folder or a device", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Text that is no JSON, or not of the expected structure.
    #[error("{}: line {line}, column {column}: {message}", .file.display())]
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
    /// A key that does not hold what it should.
    #[error("{}: key `{key}`: expected {expected}, found {found}", .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// In words.
        expected: &'static str,
        /// As it stands there, or `nothing`.
        found: String,
    },
    /// No weights in any form that is known.
    #[error("{}: expected weights in a model.safetensors or a model.safetensors.index.json, found neither", .folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// Weights in a form that is known, and not read.
    #[error("{}: {form} are not read: {reason}; {remedy}", .file.display())]
    UnreadForm {
        /// The file that shows the form.
        file: PathBuf,
        /// The form, in the plural.
        form: String,
        /// Why they are not read.
        reason: &'static str,
        /// What the user can do.
        remedy: &'static str,
    },
    /// A safetensors file that contradicts itself.
    #[error("{}: {problem}", .file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// The contradiction.
        problem: HeaderProblem,
    },
    /// The index of a sharded checkpoint that contradicts itself or its shards.
    #[error("{}: {problem}", .file.display())]
    Index {
        /// The index.
        file: PathBuf,
        /// The contradiction.
        problem: IndexProblem,
    },
    /// None of the names under which a tensor may be stored is there.
    #[error(
        "{}: expected a tensor `{}`, found none{}",
        .file.display(), .names.join("` or `"), did_you_mean(.nearest)
    )]
    NoTensor {
        /// The file.
        file: PathBuf,
        /// The names looked for.
        names: Vec<String>,
        /// Stored names that come near, nearest first.
        nearest: Vec<String>,
    },
    /// A tensor of another shape than the config implies.
    #[error("{}: tensor `{tensor}`: expected shape {expected:?}, found {found:?}", .file.display())]
    Shape {
        /// The file.
        file: PathBuf,
        /// The stored name.
        tensor: String,
        /// What the config implies.
        expected: Vec<usize>,
        /// What is stored.
        found: Vec<usize>,
    },
    /// A tensor of an element type that cannot be read as asked.
    #[error("{}: tensor `{tensor}`: expected elements of {expected}, found {found}", .file.display())]
    Elements {
        /// The file.
        file: PathBuf,
        /// The stored name.
        tensor: String,
        /// The types that would do.
        expected: &'static str,
        /// The stored type.
        found: String,
    },
    /// The folder has no tokenizer. That is legitimate: token ids can be given instead of text.
    #[error("{}: found no tokenizer.json; give token ids instead of text", .folder.display())]
    NoTokenizer {
        /// The folder.
        folder: PathBuf,
    },
    /// A tokenizer that reads as JSON and still does not work.
    #[error("{}: {message}", .file.display())]
    Tokenizer {
        /// The tokenizer's file.
        file: PathBuf,
        /// What the tokenizer said.
        message: String,
    },
}

impl CheckpointError {
    /// For `map_err` at a call of the operating system.
    pub(crate) fn io(
        file: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io {
            file,
            action,
            source,
        }
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; did you mean `{}`?", nearest.join("` or `"))
    }
}

impl From<CheckpointError> for PluginError {
    fn from(error: CheckpointError) -> Self {
        let kind = match error {
            CheckpointError::Io { .. } => ErrorKind::Io,
            _ => ErrorKind::InvalidInput,
        };
        Self::new(kind, error.to_string())
    }
}
