//! A checkpoint, with the spec that an adapter makes of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::Glob;
use tlbench_checkpoint::{CONFIG_FILE, CheckpointError, ModelFolder};
use tlbench_engine::{Bridge, EngineError};
use tlbench_sdk::host::ForeignArchitecture;
use tlbench_sdk::{
    Adapted, DType, HookPoint, ModelSpec, Parameter, PluginError, Processing, Usage, hooks,
};

use crate::located::LocateError;
use crate::plugins::{Offer, Registry};

/// A model that was read, but whose weights were not loaded yet.
pub struct Model {
    /// Its checkpoint.
    pub folder: ModelFolder,
    /// The adapter's id.
    pub architecture: String,
    /// What the adapter made of the config.
    pub spec: ModelSpec,
    /// The hook points of the spec.
    pub hooks: Vec<HookPoint>,
    /// What of config and checkpoint was used, and what not.
    pub usage: Usage,
}

/// Why a model cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It is nowhere.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No plugin serves it.
    #[error("{file}: key `model_type`: expected one of {known}, found \"{found}\"", file = file.display())]
    UnknownModelType {
        /// The config.
        file: PathBuf,
        /// What is there.
        known: String,
        /// What was asked for.
        found: String,
    },
    /// No plugin offers an adapter of that name.
    #[error("architecture `{found}`: expected one of {known}")]
    UnknownArchitecture {
        /// What is there.
        known: String,
        /// What was asked for.
        found: String,
    },
    /// The adapter refused the config.
    #[error("{file}: {error}", file = file.display())]
    Adapter {
        /// The config.
        file: PathBuf,
        /// Its reason.
        error: PluginError,
    },
    /// The adapter wants tensors ignored by a pattern that is none.
    #[error("{file}: the adapter's `ignored_tensors`: {error}", file = file.display())]
    Pattern {
        /// The config.
        file: PathBuf,
        /// The pattern, and what is wrong with it.
        error: globset::Error,
    },
    /// A token that the model does not have.
    #[error("{origin}: expected token ids below {d_vocab}, found {token}")]
    Token {
        /// Who gave it: the tokenizer, or `input_ids`.
        origin: &'static str,
        /// The token.
        token: i64,
        /// Rows of the token embedding.
        d_vocab: usize,
    },
    /// More tokens than the model, or the run, takes.
    #[error("input_ids: expected at most {context} token ids ({limit}), found {found}")]
    TooManyTokens {
        /// How many would do.
        context: usize,
        /// What says so.
        limit: &'static str,
        /// How many there are.
        found: usize,
    },
    /// No inputs can be made.
    #[error(transparent)]
    Inputs(PluginError),
    /// Nobody bears that name.
    #[error("subject `{found}`: expected one of {known}")]
    UnknownSubject {
        /// Who can be on trial.
        known: String,
        /// Who was asked for.
        found: String,
    },
    /// A reference that cannot be put on trial.
    #[error("subject `{found}` is a reference alone: expected one of {known}")]
    NotASubject {
        /// Who can be on trial.
        known: String,
        /// Who was asked for.
        found: String,
    },
    /// Who is to be on trial does not open.
    #[error("subject `{name}`: {error}")]
    Subject {
        /// Who.
        name: String,
        /// Its reason.
        error: PluginError,
    },
    /// The engine cannot run it.
    #[error("{folder}: {error}", folder = folder.display())]
    Engine {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// Its reason.
        error: EngineError,
    },
}

impl Model {
    /// The model on the engine, which reads its weights.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit, or the spec asks for what the engine does not have.
    pub fn bridge(&self, dtype: DType) -> Result<Bridge, EngineError> {
        Bridge::open(&self.spec, self.folder.weights(), dtype)
    }

    /// Reads the checkpoint in `folder` with the adapter for its `model_type`, or with the one named.
    ///
    /// # Errors
    /// If the checkpoint is malformed or no adapter serves it.
    pub fn open(
        folder: &Path,
        architecture: Option<&str>,
        registry: &Registry,
    ) -> Result<Self, ModelError> {
        let folder = ModelFolder::open(folder)?;
        let file = folder.path().join(CONFIG_FILE);
        let offer = adapter(architecture, folder.model_type(), &file, registry)?;
        let adapted = offer
            .object
            .adapt(folder.config())
            .map_err(|error| ModelError::Adapter { file, error })?;
        let usage = usage(&folder, &adapted)?;
        Ok(Self {
            architecture: offer.object.info().id.clone(),
            hooks: hooks(&adapted.spec),
            spec: adapted.spec,
            usage,
            folder,
        })
    }
}

/// The adapter called `architecture`, or else the one for the `model_type` that the config `file` names.
pub(crate) fn adapter<'a>(
    architecture: Option<&str>,
    model_type: &str,
    file: &Path,
    registry: &'a Registry,
) -> Result<&'a Offer<ForeignArchitecture>, ModelError> {
    let list = |names: Vec<&str>| {
        if names.is_empty() {
            "none (no plugin offers any)".into()
        } else {
            names.join(", ")
        }
    };
    match architecture {
        Some(id) => {
            let known = registry.architectures.keys().map(String::as_str).collect();
            let offer = registry.architectures.get(id);
            offer.ok_or_else(|| ModelError::UnknownArchitecture {
                known: list(known),
                found: id.to_owned(),
            })
        }
        None => {
            let offer = registry.architecture_for(model_type);
            offer.ok_or_else(|| ModelError::UnknownModelType {
                file: file.to_owned(),
                known: list(registry.model_types()),
                found: model_type.to_owned(),
            })
        }
    }
}

impl Model {
    /// What has a gradient: the checkpoint tensors that the spec takes, or what processing leaves of the canonical weights.
    pub(crate) fn parameters(&self, processing: &Processing) -> Vec<Parameter> {
        if !processing.is_raw() {
            return processing.parameters(&self.spec);
        }
        let weights = self.folder.weights();
        let taken = self.usage.tensors_taken.iter();
        taken
            .map(|name| Parameter {
                name: name.clone(),
                shape: weights
                    .shape(name)
                    .map(<[usize]>::to_vec)
                    .unwrap_or_default(),
            })
            .collect()
    }
}

fn usage(folder: &ModelFolder, adapted: &Adapted) -> Result<Usage, ModelError> {
    let keys_not_read = adapted.keys_not_read(folder.config());
    let taken = adapted
        .spec
        .sources()
        .into_iter()
        .map(|(_, source)| Ok(folder.weights().resolve(source)?.to_owned()))
        .collect::<Result<BTreeSet<String>, ModelError>>()?;
    let ignored = adapted
        .spec
        .ignored_tensors
        .iter()
        .map(|pattern| Ok(Glob::new(pattern)?.compile_matcher()))
        .collect::<Result<Vec<_>, globset::Error>>()
        .map_err(|error| ModelError::Pattern {
            file: folder.path().join("config.json"),
            error,
        })?;
    let tensors_not_taken = folder
        .weights()
        .names()
        .filter(|name| !taken.contains(*name) && !ignored.iter().any(|glob| glob.is_match(name)))
        .map(str::to_owned)
        .collect();
    Ok(Usage {
        keys_read: adapted
            .keys_read
            .iter()
            .filter(|key| folder.config().contains_key(*key))
            .cloned()
            .collect(),
        keys_not_read,
        tensors_taken: taken.into_iter().collect(),
        tensors_not_taken,
    })
}
