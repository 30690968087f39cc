//! One model family.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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

impl ArchitectureInfo {
    /// The adapter `id`, of `model_types`.
    pub fn new(id: &str, description: &str, model_types: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            description: description.to_owned(),
            model_types: model_types.iter().map(|&name| name.to_owned()).collect(),
        }
    }
}

/// What an adapter made of a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapted {
    /// The architecture.
    pub spec: ModelSpec,
    /// The config keys that were read, those of tables as `key.inner`.
    pub keys_read: BTreeSet<String>,
    /// The config keys that do not change the mathematics of inference, as the adapter or everybody knows.
    pub keys_neutral: BTreeSet<String>,
}

impl Adapted {
    /// The keys of `config` that were neither read nor are neutral, those of tables as `key.inner`. A table none of whose
    /// keys was asked for by itself was read as a whole.
    pub fn keys_not_read(&self, config: &Map<String, Value>) -> Vec<String> {
        let mut found = Vec::new();
        self.gather_not_read("", config, &mut found);
        found
    }

    fn gather_not_read(&self, within: &str, table: &Map<String, Value>, found: &mut Vec<String>) {
        for (key, value) in table {
            let path = format!("{within}{key}");
            if self.keys_neutral.contains(&path) {
                continue;
            }
            let inner = format!("{path}.");
            match value {
                _ if !self.keys_read.contains(&path) => found.push(path),
                Value::Object(table) if self.is_read_by_key(&inner) => {
                    self.gather_not_read(&inner, table, found);
                }
                _ => {}
            }
        }
    }

    fn is_read_by_key(&self, table: &str) -> bool {
        let mut after = self.keys_read.range(table.to_owned()..);
        after.next().is_some_and(|key| key.starts_with(table))
    }
}
