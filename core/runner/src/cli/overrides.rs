//! What the command line says instead of the config.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tlbench::config::{Overrides, Prompt};
use tlbench::{Config, Failure};
use tlbench_sdk::Tier;

use super::{Cli, Command};

impl Cli {
    /// The config, with what the command line says.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let default = Path::new(Config::FILE);
        let config = match &self.common.config {
            Some(file) => Config::load(file)?,
            // A model on the command line is judged by the defaults, whatever lies in this folder.
            None if self.models.is_empty() && default.is_file() => Config::load(default)?,
            None => Config::default(),
        };
        let mut config = config.with_overrides(self.overrides())?;
        if let Some(
            Command::Inspect { model }
            | Command::Bisect { model, .. }
            | Command::Record { model, .. }
            | Command::Sensitivity { model, .. }
            | Command::Twin { model, .. },
        ) = &self.command
        {
            config = config.with_overrides(Overrides {
                models: vec![model.clone()],
                ..Overrides::default()
            })?;
        }
        Ok(config)
    }

    fn overrides(&self) -> Overrides {
        let (run, sensitivity) = match &self.command {
            Some(Command::Sensitivity { run, faults, .. }) => (run, Some(faults.settings())),
            Some(Command::Bisect { run, .. }) => (run, None),
            _ => (&self.run, self.sensitivity.settings()),
        };
        let excluded = [
            (run.no_hf_reference, Tier::HuggingFace),
            (run.no_ht_reference, Tier::HookedTransformer),
        ];
        // As in `PATH`, what stands between two separators may be nothing.
        let plugin_path = self.common.plugin_path.iter();
        let plugin_path = plugin_path.filter(|path| !path.is_empty());
        let python = self.common.python.iter().map(|python| {
            let table = [("python".to_owned(), toml::Value::String(python.clone()))]
                .into_iter()
                .collect();
            ("hf-python".to_owned(), table)
        });
        Overrides {
            models: self.models.clone(),
            subject: run.subject.clone(),
            recording: run.recording.clone(),
            device: run.device,
            dtype: run.dtype,
            prompt: self.prompt(),
            judging: run.judging,
            sensitivity,
            offline: self.common.offline.then_some(true),
            compat: run.no_compat.then_some(false),
            excluded_tiers: excluded
                .into_iter()
                .filter(|(excluded, _)| *excluded)
                .map(|(_, tier)| tier)
                .collect(),
            benchmarks: run.benchmarks.clone(),
            plugins: self
                .common
                .plugins
                .iter()
                .cloned()
                .chain(plugin_path.map(PathBuf::from))
                .collect(),
            references: python.collect::<BTreeMap<_, _>>(),
        }
    }

    fn prompt(&self) -> Option<Prompt> {
        let tokens = |ids: &Vec<u32>| Prompt::Tokens(ids.iter().copied().map(i64::from).collect());
        let text = self.common.text.clone().map(Prompt::Text);
        text.or_else(|| self.common.tokens.as_ref().map(tokens))
    }
}
