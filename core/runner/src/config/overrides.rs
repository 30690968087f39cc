//! What the command line and the environment say instead of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tlbench_sdk::{DType, Judging, Tier};

use super::{BenchmarkEntry, Config, Device, ModelEntry, ModelSource, Prompt, Sensitivity};

/// What the command line says, and where it says nothing, the environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--model`: only these. Each is the name of a model of the file, or else a folder, or else a
    /// model of the Hub.
    pub models: Vec<String>,
    /// `--subject`: for every model, whatever the file says of it.
    pub subject: Option<String>,
    /// `--recording`: the recording of the one model.
    pub recording: Option<PathBuf>,
    /// `--device` or `TLBENCH_DEVICE`.
    pub device: Option<Device>,
    /// `--dtype` or `TLBENCH_DTYPE`: for every model, whatever the file says of it.
    pub dtype: Option<DType>,
    /// `--text` or `--tokens`: for every model, whatever the file says of it.
    pub prompt: Option<Prompt>,
    /// What decides between passing and failing.
    pub judging: Option<Judging>,
    /// `--no-compat`: `Some(false)`.
    pub compat: Option<bool>,
    /// `--no-hf-reference`, `--no-ht-reference`: no reference of these tiers, named or not.
    pub excluded_tiers: BTreeSet<Tier>,
    /// `--offline` or `HF_HUB_OFFLINE`.
    pub offline: Option<bool>,
    /// `--sensitivity`, `--min-sensitivity`, or what `tlbench sensitivity` says.
    pub sensitivity: Option<Sensitivity>,
    /// `--benchmark`: only these. The file's options still apply to them.
    pub benchmarks: Vec<String>,
    /// `--plugin`, then `TLBENCH_PLUGIN_PATH`: before those of the file.
    pub plugins: Vec<PathBuf>,
    /// Settings of references (`TLBENCH_PYTHON`), key by key.
    pub references: BTreeMap<String, toml::Table>,
}

/// What the command line says does not fit the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// A recording is of one model.
    #[error(
        "the recording {} is of one model, but there are {}; choose one of them with --model",
        .recording.display(), count(.models)
    )]
    RecordingOfSeveral {
        /// The recording.
        recording: PathBuf,
        /// The names of the models.
        models: Vec<String>,
    },
}

fn count(models: &[String]) -> String {
    if models.is_empty() {
        "none".to_owned()
    } else {
        format!("{}: {}", models.len(), models.join(", "))
    }
}

impl Config {
    /// The config with everything replaced that `overrides` speak of.
    ///
    /// # Errors
    /// If they do not fit the file.
    pub fn with_overrides(mut self, overrides: Overrides) -> Result<Self, OverrideError> {
        let run = &mut self.run;
        run.device = overrides.device.unwrap_or(run.device);
        run.dtype = overrides.dtype.unwrap_or(run.dtype);
        if overrides.subject.is_some() {
            run.subject.clone_from(&overrides.subject);
        }
        run.judging = overrides.judging.unwrap_or(run.judging);
        run.compat = overrides.compat.unwrap_or(run.compat);
        if let Some(prompt) = &overrides.prompt {
            run.prompt.clone_from(prompt);
        }
        run.offline = overrides.offline.unwrap_or(run.offline);
        run.sensitivity = overrides.sensitivity.or_else(|| run.sensitivity.take());
        run.excluded_tiers.extend(overrides.excluded_tiers);
        if !overrides.models.is_empty() {
            self.models = self.chosen(&overrides.models);
        }
        for model in &mut self.models {
            model.dtype = overrides.dtype.unwrap_or(model.dtype);
            if overrides.subject.is_some() {
                model.subject.clone_from(&overrides.subject);
            }
            if let Some(prompt) = &overrides.prompt {
                model.prompt.clone_from(prompt);
            }
        }
        if let Some(recording) = overrides.recording {
            self.set_recording(recording)?;
        }
        if !overrides.benchmarks.is_empty() {
            for entry in &mut self.benchmarks {
                entry.selects = false;
            }
            let chosen = overrides.benchmarks.into_iter().map(BenchmarkEntry::new);
            self.benchmarks.extend(chosen);
        }
        self.plugins.paths.splice(0..0, overrides.plugins);
        for (reference, settings) in overrides.references {
            self.references
                .entry(reference)
                .or_default()
                .extend(settings);
        }
        Ok(self)
    }

    fn chosen(&self, models: &[String]) -> Vec<ModelEntry> {
        let mut chosen: Vec<ModelEntry> = Vec::new();
        for model in models {
            let named = self.models.iter().find(|entry| entry.name == *model);
            let mut entry = named.cloned().unwrap_or_else(|| self.unnamed(model));
            if chosen.iter().any(|other| other.name == entry.name) {
                entry.name.clone_from(model);
            }
            // Still of the same name: the same model, given twice.
            if chosen.iter().all(|other| other.name != entry.name) {
                chosen.push(entry);
            }
        }
        chosen
    }

    /// A model that the file does not know.
    fn unnamed(&self, model: &str) -> ModelEntry {
        let source = ModelSource::of_argument(model);
        ModelEntry {
            name: source.name(),
            source,
            recording: None,
            subject: self.run.subject.clone(),
            architecture: None,
            dtype: self.run.dtype,
            prompt: self.run.prompt.clone(),
            references: self.run.references.clone(),
        }
    }

    fn set_recording(&mut self, recording: PathBuf) -> Result<(), OverrideError> {
        if let [model] = self.models.as_mut_slice() {
            model.recording = Some(recording);
            Ok(())
        } else {
            let models = self.models.iter().map(|model| model.name.clone()).collect();
            Err(OverrideError::RecordingOfSeveral { recording, models })
        }
    }
}
