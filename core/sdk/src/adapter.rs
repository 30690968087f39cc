//! One model family.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ConfigReader};
use crate::spec::ModelSpec;

/// A pure function from HF's `config.json` to a [`ModelSpec`]: no tensors, no files.
pub trait ArchitectureAdapter: Send + Sync {
    /// What it is; no work is done for it.
    fn info(&self) -> ArchitectureInfo;

    /// Reads the config.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError>;
}

/// What an [`ArchitectureAdapter`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchitectureInfo {
    /// Its name in configs (`gpt2`).
    pub id: String,
    /// One line.
    pub description: String,
    /// The `model_type`s that it serves; empty: only when it is named.
    pub model_types: Vec<String>,
}

/// What an adapter made of a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapted {
    /// The architecture.
    pub spec: ModelSpec,
    /// The config keys that were read.
    pub keys_read: BTreeSet<String>,
    /// The config keys that do not change the mathematics of inference, as the adapter or everybody knows.
    pub keys_neutral: BTreeSet<String>,
}
