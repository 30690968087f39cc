//! The forms in which weights lie in a folder: two that are read, and those that are refused with a remedy.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::CheckpointError;
use crate::folder::CONFIG_FILE;
use crate::recording::RECORDING_FILE;
use crate::weights::Weights;

/// The name of the file with a model's weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The name of the index of weights that lie in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// A form that is refused, and how to tell it.
struct Form {
    suffix: &'static str,
    name: &'static str,
    reason: &'static str,
    remedy: &'static str,
}

impl Form {
    const fn pickled(suffix: &'static str) -> Self {
        Self {
            suffix,
            name: "pickled weights",
            reason: "to unpickle a file is to run the code in it",
            remedy: "load the model with transformers and save it with save_pretrained(folder)",
        }
    }

    const fn adapter(suffix: &'static str) -> Self {
        Self {
            suffix,
            name: "the weights of an adapter",
            reason: "they are no model by themselves",
            remedy: "merge them into their base model with merge_and_unload() and save that with save_pretrained(folder)",
        }
    }
}

/// The first that matches counts.
const REFUSED: [Form; 7] = [
    Form::adapter("adapter_model.safetensors"),
    Form::adapter("adapter_model.bin"),
    Form {
        suffix: ".safetensors",
        name: "weights under another name than model.safetensors",
        reason: "which file is meant would be a guess",
        remedy: "rename it to model.safetensors if it holds the whole model",
    },
    Form::pickled(".bin"),
    Form::pickled(".pt"),
    Form::pickled(".pth"),
    Form {
        suffix: ".gguf",
        name: "GGUF weights",
        reason: "their names and layout are those of llama.cpp, and most are quantised",
        remedy: "load the model with from_pretrained(folder, gguf_file=\"NAME\") and save it with save_pretrained(folder)",
    },
];

/// Opens the weights in `folder`, whose config is `config`.
pub(crate) fn open_weights(
    folder: &Path,
    config: &Map<String, Value>,
) -> Result<Weights, CheckpointError> {
    refuse_quantised(folder, config)?;
    let (whole, index) = (folder.join(WEIGHTS_FILE), folder.join(INDEX_FILE));
    // Where both are there, transformers takes the one file.
    if whole.exists() {
        Weights::open(whole)
    } else if index.exists() {
        Weights::open_sharded(index)
    } else {
        Err(refusal(folder, &file_names(folder)?))
    }
}

/// Names the method, since it alone knows what the stored numbers stand for.
fn refuse_quantised(folder: &Path, config: &Map<String, Value>) -> Result<(), CheckpointError> {
    // transformers writes the first key, MLX the second.
    let found = ["quantization_config", "quantization"]
        .iter()
        .find_map(|&key| Some((key, config.get(key).filter(|value| !value.is_null())?)));
    let Some((key, value)) = found else {
        return Ok(());
    };
    let method = value.get("quant_method").and_then(Value::as_str);
    let by = method.map_or_else(String::new, |method| format!(" by `{method}`"));
    Err(CheckpointError::UnreadForm {
        file: folder.join(CONFIG_FILE),
        form: format!("key `{key}`: weights that were quantised{by}"),
        reason: "only that method knows what the stored numbers stand for",
        remedy: "load the model with transformers, dequantise it with model.dequantize() and save it with save_pretrained(folder)",
    })
}

fn file_names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(CheckpointError::io(folder, "list"))? {
        let entry = entry.map_err(CheckpointError::io(folder, "list"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn refusal(folder: &Path, names: &[String]) -> CheckpointError {
    let matching = |form: &Form| {
        let file = |name: &&String| name.ends_with(form.suffix) && !is_companion(name);
        names.iter().find(file).cloned()
    };
    let found = REFUSED
        .iter()
        .find_map(|form| Some((form, matching(form)?)));
    match found {
        Some((form, name)) => CheckpointError::UnreadForm {
            file: folder.join(name),
            form: form.name.to_owned(),
            reason: form.reason,
            remedy: form.remedy,
        },
        None => CheckpointError::NoWeights {
            folder: PathBuf::from(folder),
        },
    }
}

/// Files that lie beside weights under the same suffixes.
fn is_companion(name: &str) -> bool {
    name == RECORDING_FILE || name == "training_args.bin" || name.starts_with("optimizer.")
}
