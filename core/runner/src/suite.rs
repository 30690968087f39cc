//! tlbench in other people's programs and tests: a model, the benchmarks on it, and what became of them.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::{Config, OverrideError, Overrides};
use crate::events::EventLog;
use crate::located::Located;
use crate::model::{Model, ModelError};
use crate::plugins::{Registry, SearchPath};
use crate::report::shortened;
use crate::results::Results;
use crate::run::run;
use crate::selection::SelectionError;

/// The variable that says where plugins are, as for the command.
const PLUGIN_PATH: &str = "TLBENCH_PLUGIN_PATH";

/// Models on trial, and the plugins that know how to judge them.
pub struct Suite {
    config: Config,
    registry: Registry,
}

/// Why nothing can be judged.
#[derive(thiserror::Error)]
pub enum SuiteError {
    /// Cargo builds plugins for `cargo build` and `cargo run`, and for nobody who only links a crate.
    #[error(
        "no plugin in {}: `cargo test` builds none; run `cargo build --release --workspace` where tlbench's are, \
         and name their folder in {PLUGIN_PATH} unless it is this one",
        .folder.display()
    )]
    NoPlugins {
        /// Where the program lies that looks for them.
        folder: PathBuf,
    },
    /// The config names no model.
    #[error("no model: the config has none")]
    NoModel,
    /// The model cannot be had. The reason may be a plugin's.
    #[error("{}", shortened(&.0.to_string()))]
    Model(#[from] ModelError),
    /// What was asked for does not go together.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// A benchmark that nobody offers.
    #[error(transparent)]
    Selection(#[from] SelectionError),
}

/// As it is written: this is what shows when a test or a `main` returns it.
impl fmt::Debug for SuiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Suite {
    /// One model, by the defaults of the command: the folder of a checkpoint, or a model of the Hub (`owner/name`).
    ///
    /// # Errors
    /// As [`Suite::of_config`].
    pub fn of_model(model: impl AsRef<Path>) -> Result<Self, SuiteError> {
        let models = vec![model.as_ref().to_string_lossy().into_owned()];
        let overrides = Overrides {
            models,
            ..Overrides::default()
        };
        Self::of_config(Config::default().with_overrides(overrides)?)
    }

    /// The models of a config. Plugins are those that it names, those of `TLBENCH_PLUGIN_PATH`, and those beside the
    /// running program; if that is a test or an example, beside what cargo has built otherwise.
    ///
    /// # Errors
    /// If there is no plugin at all. One that cannot be used shows in the results.
    pub fn of_config(config: Config) -> Result<Self, SuiteError> {
        let of_variable = env::var_os(PLUGIN_PATH).unwrap_or_default();
        let of_variable =
            env::split_paths(&of_variable).filter(|path| !path.as_os_str().is_empty());
        let folder = built();
        let registry = Registry::load(&SearchPath {
            named: of_variable.chain(config.plugins.paths.clone()).collect(),
            implied: vec![folder.clone(), folder.join("plugins")],
        });
        if registry.plugins.is_empty() && registry.problems.is_empty() {
            return Err(SuiteError::NoPlugins { folder });
        }
        Ok(Self { config, registry })
    }

    /// With what a command line would say: precision, text, references to leave out, no compatibility mode, and so on.
    ///
    /// # Errors
    /// If it does not fit what is there.
    pub fn with(mut self, overrides: Overrides) -> Result<Self, SuiteError> {
        self.config = self.config.with_overrides(overrides)?;
        Ok(self)
    }

    /// The first model itself, to be run without any benchmark: [`Model::bridge`].
    ///
    /// # Errors
    /// If there is none, it is not to be had, or no adapter serves it.
    #[doc(alias = "boot_transformers")]
    pub fn model(&self) -> Result<Model, SuiteError> {
        let entry = self.config.models.first().ok_or(SuiteError::NoModel)?;
        let offline = self.config.run.offline;
        let located = Located::find(&entry.source, offline, &EventLog::default());
        let folder = located.map_err(ModelError::from)?.folder;
        let architecture = entry.architecture.as_deref();
        Ok(Model::open(&folder, architecture, &self.registry)?)
    }

    /// Runs every benchmark that was chosen: all of them, unless a config or [`Suite::with`] says otherwise.
    ///
    /// # Errors
    /// If a benchmark was chosen that nobody offers.
    #[doc(alias = "run_benchmark_suite")]
    pub fn run(&self) -> Result<Results, SuiteError> {
        self.results(&self.config)
    }

    /// Runs one benchmark: its id, the module of several, or a glob over either.
    ///
    /// # Errors
    /// If nobody offers it.
    pub fn benchmark(&self, name: &str) -> Result<Results, SuiteError> {
        let only = Overrides {
            benchmarks: vec![name.to_owned()],
            ..Overrides::default()
        };
        self.results(&self.config.clone().with_overrides(only)?)
    }

    fn results(&self, config: &Config) -> Result<Results, SuiteError> {
        let log = EventLog::default();
        run(config, &self.registry, &log)?;
        Ok(Results::new(log.events()))
    }
}

/// Where cargo puts plugins: beside the program, and for tests and examples, which have folders of their own, beside
/// those.
fn built() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let folder = program.parent().unwrap_or(Path::new(""));
    let is_cargos = folder.ends_with("deps") || folder.ends_with("examples");
    match folder.parent() {
        Some(parent) if is_cargos => parent.to_owned(),
        _ => folder.to_owned(),
    }
}
