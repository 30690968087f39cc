//! What ends the process before or beside a run, and the one mapping to exit codes.

use std::path::PathBuf;

use crate::bisect::BisectError;
use crate::config::{ConfigError, ModelSource, OverrideError};
use crate::explain::UnknownBenchmark;
use crate::located::LocateError;
use crate::model::ModelError;
use crate::outcome::Outcome;
use crate::record::RecordError;
use crate::report::shortened;
use crate::selection::SelectionError;
use crate::twin::TwinError;

/// An expected failure of the command.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The config is wrong or missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line does not fit the config.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// There is nothing to work on.
    #[error("no model: name one with --model MODEL, or a config with --config FILE (there is no {} here)", file.display())]
    NoModel {
        /// The config that is read by default.
        file: PathBuf,
    },
    /// A benchmark that nobody offers.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// One that was to be explained.
    #[error(transparent)]
    Explain(#[from] UnknownBenchmark),
    /// The cache of the Hub belongs to others as well.
    #[error(
        "{model}: the cache of the Hub is no place for a recording; name a file with --out FILE"
    )]
    NoPlaceForRecording {
        /// The model.
        model: ModelSource,
    },
    /// A model is nowhere.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// A model cannot be read. The reason may be a plugin's.
    #[error("{}", shortened(&.0.to_string()))]
    Model(#[from] ModelError),
    /// A recording cannot be made. The reason may be a plugin's.
    #[error("{}", shortened(&.0.to_string()))]
    Record(#[from] RecordError),
    /// A model cannot be bisected. The reason may be a plugin's.
    #[error("{}", shortened(&.0.to_string()))]
    Bisect(#[from] BisectError),
    /// A twin cannot be made. The reason may be a plugin's.
    #[error("{}", shortened(&.0.to_string()))]
    Twin(#[from] TwinError),
    /// The report cannot be written.
    #[error("{}: cannot be written: {error}", file.display())]
    Output {
        /// Where to.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Failure {
    /// The process's exit code.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoModel { .. } | Self::NoPlaceForRecording { .. } => 2,
            Self::Selection(_) | Self::Explain(_) => Outcome::NothingSelected.exit_code(),
            Self::Config(_) | Self::Override(_) => 96,
            Self::Locate(_)
            | Self::Model(_)
            | Self::Record(_)
            | Self::Bisect(_)
            | Self::Twin(_)
            | Self::Output { .. } => Outcome::CouldNotRun.exit_code(),
        }
    }
}
