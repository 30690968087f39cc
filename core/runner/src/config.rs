//! `tlbench.toml`: what a run tries, and how.
//!
//! ```toml
//! [run]
//! device = "cpu"
//! dtype = "f32"
//! judging = "calibrated"
//! text = "The quick brown fox"       # or input_ids = [464, 2068, 7586]
//! references = ["hf", "ht", "bridge"]
//! compat = true
//! max_tokens = 256
//! offline = false
//! sensitivity = false
//! min_sensitivity = 0.95               # implies it
//!
//! [[models]]
//! path = "models/tiny"
//!
//! [[models]]
//! hub = "owner/name@main"
//!
//! [[benchmarks]]
//! name = "*"
//! options = {}
//!
//! [plugins]
//! paths = ["plugins"]
//!
//! [reference.hf-python]
//! python = "python3"
//! timeout = 600
//! ```
//!
//! Every table and every key may be absent, but for the `path` or `hub` of a model and the `name` of a benchmark. Paths are
//! relative to the folder of the file. A key that is not known, or does not hold what it should, is an error; all of
//! a file are reported at once. What the command line says wins over the environment, and that over the file:
//! [`Config::with_overrides`].

mod overrides;
mod parse;
mod problem;
mod prompt;
mod section;
mod sensitivity;
mod source;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tlbench_sdk::{DType, Judging, Tier};

pub use overrides::{OverrideError, Overrides};
pub use problem::{ConfigError, Hint, Position, Problem, ProblemKind};
pub use prompt::Prompt;
use section::Section;
pub use sensitivity::Sensitivity;
pub use source::ModelSource;
pub use words::{Device, ReferenceChoice, UnknownWord, parse_dtype, parse_judging};

/// What a run tries, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[[models]]`: the models on trial, in order. Their names differ.
    pub models: Vec<ModelEntry>,
    /// `[run]`: what holds for all of them.
    pub run: RunSettings,
    /// `[[benchmarks]]`: what is run, and with which options. By default everything that the plugins offer.
    pub benchmarks: Vec<BenchmarkEntry>,
    /// `[plugins]`: where plugins are looked for.
    pub plugins: PluginSettings,
    /// `[reference.ID]`: settings of a reference, which it alone understands.
    pub references: BTreeMap<String, toml::Table>,
}

/// One of `[[models]]`, with what it takes over from `[run]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelEntry {
    /// `name`: how check ids and reports call it. By default the name of its folder or repository.
    pub name: String,
    /// `path` or `hub`: where it comes from.
    pub source: ModelSource,
    /// `recording`: a recording that lies elsewhere than beside the checkpoint.
    pub recording: Option<PathBuf>,
    /// `subject`: who is on trial, a reference by its id. By default that of `[run]`, or else the bridge.
    pub subject: Option<String>,
    /// `architecture`: the id of the adapter. By default the one that serves the checkpoint's `model_type`.
    pub architecture: Option<String>,
    /// `dtype`: by default that of `[run]`.
    pub dtype: DType,
    /// `text` or `input_ids`: by default those of `[run]`.
    pub prompt: Prompt,
    /// `references`: by default those of `[run]`.
    pub references: Vec<ReferenceChoice>,
}

/// `[run]`: what holds for all models.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// `subject`: who is on trial, a reference by its id; by default the bridge.
    pub subject: Option<String>,
    /// `device`: where the subject runs.
    pub device: Device,
    /// `dtype`: the precision on trial.
    pub dtype: DType,
    /// `judging`: what decides between passing and failing, the `calibrated` error ratio or a fixed `tolerance`.
    pub judging: Judging,
    /// `text` or `input_ids`: what the inputs are made of.
    pub prompt: Prompt,
    /// `references`: what the subject is compared with, best first; the first that can answer does. A tier (`hf`,
    /// `ht`, `bridge`) stands for all references of that tier.
    pub references: Vec<ReferenceChoice>,
    /// `compat`: whether processed weights are on trial as well, and not only the raw ones.
    pub compat: bool,
    /// `max_tokens`: the longest input, where the model's context is longer. By default 256, and 32 for a model of more
    /// than 64 MB.
    pub max_tokens: Option<usize>,
    /// `offline`: whether models of the Hub are taken from the cache alone.
    pub offline: bool,
    /// `sensitivity`: whether mistakes are put into each model as well, to see whether the suite notices.
    pub sensitivity: Option<Sensitivity>,
    /// Tiers that the command line excludes; no key of the file.
    pub excluded_tiers: BTreeSet<Tier>,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            subject: None,
            device: Device::Cpu,
            dtype: DType::F32,
            judging: Judging::Calibrated,
            prompt: Prompt::default(),
            references: [
                Tier::HuggingFace,
                Tier::HookedTransformer,
                Tier::BridgeAlone,
            ]
            .map(ReferenceChoice::Tier)
            .into(),
            compat: true,
            max_tokens: None,
            offline: false,
            sensitivity: None,
            excluded_tiers: BTreeSet::new(),
        }
    }
}

/// One of `[[benchmarks]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchmarkEntry {
    /// `name`: a benchmark's id, the module of several, or a glob over either.
    pub name: String,
    /// `options`: for those benchmarks, which alone understand them. Where several entries match, the later wins.
    pub options: toml::Table,
    /// Whether it makes benchmarks run. Not so if the command line names others; its options are theirs all the same.
    pub selects: bool,
}

impl BenchmarkEntry {
    /// Runs `name`, without options.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            options: toml::Table::new(),
            selects: true,
        }
    }

    /// The options, as benchmarks take them.
    pub fn options_as_json(&self) -> Map<String, Value> {
        as_json(&self.options)
    }
}

/// `[plugins]`: where plugins are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginSettings {
    /// `paths`: plugins, and folders of plugins, in order.
    pub paths: Vec<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            run: RunSettings::default(),
            benchmarks: vec![BenchmarkEntry::new("*")],
            plugins: PluginSettings::default(),
            references: BTreeMap::new(),
        }
    }
}

impl Config {
    /// The name of the file that is read where none is named.
    pub const FILE: &str = "tlbench.toml";

    /// Reads `file`.
    ///
    /// # Errors
    /// If it cannot be read, and for everything in it that is not understood.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, file)
    }

    /// Reads `text` as the content of `file`.
    ///
    /// # Errors
    /// For everything in it that is not understood.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        parse::parse(text, file)
    }

    /// `[reference.ID]` of the reference `id`, as it takes it; empty if there is none.
    pub fn reference_options(&self, id: &str) -> Map<String, Value> {
        self.references.get(id).map(as_json).unwrap_or_default()
    }
}

/// A table that only a plugin understands.
fn as_json(table: &toml::Table) -> Map<String, Value> {
    match serde_json::to_value(table) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
