//! A folder with a model, as HuggingFace's `save_pretrained` writes it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::digest::{config_digest, weights_digest};
use crate::error::CheckpointError;
use crate::forms::open_weights;
use crate::json;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

/// The name of the file with a model's hyper-parameters.
pub const CONFIG_FILE: &str = "config.json";

/// The name of the file with what generation is to do by default.
const GENERATION_CONFIG_FILE: &str = "generation_config.json";

/// What `config.json` says, whether or not there are weights beside it.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Its keys.
    pub keys: Map<String, Value>,
    /// The value of `model_type`: which family of models this is.
    pub model_type: String,
}

impl ModelConfig {
    /// Reads the config of the folder `path`.
    ///
    /// # Errors
    /// If `path` is no folder with a config, or that is malformed.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let found = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => None,
            Ok(_) => Some("a file"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("nothing"),
            Err(error) => return Err(CheckpointError::io(path, "open")(error)),
        };
        let file = path.join(CONFIG_FILE);
        let found = found.or_else(|| (!file.exists()).then_some("a folder without one"));
        if let Some(found) = found {
            let path = path.to_owned();
            return Err(CheckpointError::NotAModelFolder { path, found });
        }
        let keys = json::read_object(&file)?;
        let model_type = model_type(&keys, &file)?;
        Ok(Self { keys, model_type })
    }
}

/// A folder with a `config.json` and weights.
#[derive(Debug)]
pub struct ModelFolder {
    path: PathBuf,
    config: ModelConfig,
    weights: Weights,
}

impl ModelFolder {
    /// Reads the config and the header of the weights.
    ///
    /// # Errors
    /// If `path` is no model folder, or a file in it is malformed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let config = ModelConfig::open(&path)?;
        let weights = open_weights(&path, &config.keys)?;
        Ok(Self {
            path,
            config,
            weights,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `config.json` says.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config.keys
    }

    /// The config's `model_type`: which family of models this is.
    pub fn model_type(&self) -> &str {
        &self.config.model_type
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`CheckpointError::NoTokenizer`] if the folder has none; others if it has one that is malformed.
    pub fn tokenizer(&self) -> Result<Tokenizer, CheckpointError> {
        Tokenizer::open(&self.path)
    }

    /// The tokens that end a text (`eos_token_id`): those of `generation_config.json`, or else of `config.json`.
    ///
    /// # Errors
    /// If either is malformed.
    pub fn stop_tokens(&self) -> Result<Vec<usize>, CheckpointError> {
        let file = self.path.join(GENERATION_CONFIG_FILE);
        if file.exists()
            && let Some(tokens) = stop_tokens(&json::read_object(&file)?, &file)?
        {
            return Ok(tokens);
        }
        let tokens = stop_tokens(&self.config.keys, &self.path.join(CONFIG_FILE))?;
        Ok(tokens.unwrap_or_default())
    }

    /// Identifies the config: [`config_digest`].
    pub fn config_digest(&self) -> String {
        config_digest(&self.config.keys)
    }

    /// Identifies the weights: [`weights_digest`]. Reads all of them.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn weights_digest(&self) -> Result<String, CheckpointError> {
        weights_digest(&self.weights)
    }
}

fn model_type(config: &Map<String, Value>, file: &Path) -> Result<String, CheckpointError> {
    let found = match config.get("model_type") {
        Some(Value::String(name)) if !name.is_empty() => return Ok(name.clone()),
        Some(other) => json::shown(other),
        None => "nothing".to_owned(),
    };
    Err(CheckpointError::Key {
        file: file.to_owned(),
        key: "model_type".to_owned(),
        expected: "the name of a model family",
        found,
    })
}

/// A token or a list of them; `None` where nothing is said.
fn stop_tokens(
    config: &Map<String, Value>,
    file: &Path,
) -> Result<Option<Vec<usize>>, CheckpointError> {
    let key = "eos_token_id";
    let tokens = match config.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(tokens)) => tokens.as_slice(),
        Some(token) => std::slice::from_ref(token),
    };
    let token = |token: &Value| usize::try_from(token.as_u64()?).ok();
    let tokens: Option<Vec<usize>> = tokens.iter().map(token).collect();
    tokens.map(Some).ok_or_else(|| CheckpointError::Key {
        file: file.to_owned(),
        key: key.to_owned(),
        expected: "a token id or a list of them",
        found: config.get(key).map(json::shown).unwrap_or_default(),
    })
}
