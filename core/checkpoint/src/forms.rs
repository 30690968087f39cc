//! The forms in which weights lie in a folder: two that are read, and those that are refused with a remedy.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::CheckpointError;
use crate::folder::CONFIG_FILE;
use crate::recording::RECORDING_FILE;
use crate::weights::Weights;

/// The name of the file with a model's weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The name of the index of weights that lie in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// A form of weights that is refused, and how to tell it.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedForm {
    suffix: &'static str,
    /// What it is, in the plural.
    pub name: &'static str,
    /// Why it is not read.
    pub reason: &'static str,
    /// What the user can do.
    pub remedy: &'static str,
}

impl RefusedForm {
    const fn pickled(suffix: &'static str) -> Self {
        Self {
            suffix,
            name: "pickled weights",
            reason: "to unpickle a file is to run the code in it",
            remedy: SAVE_AGAIN,
        }
    }

    const fn of_another_library(suffix: &'static str, name: &'static str) -> Self {
        Self {
            suffix,
            name,
            reason: "their names and layout are not those of PyTorch",
            remedy: SAVE_AGAIN,
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

const SAVE_AGAIN: &str =
    "load the model with transformers and save it with save_pretrained(folder)";

/// The first that matches counts: weights of one model lie about in several forms.
const REFUSED: [RefusedForm; 10] = [
    RefusedForm::adapter("adapter_model.safetensors"),
    RefusedForm::adapter("adapter_model.bin"),
    RefusedForm {
        suffix: ".safetensors",
        name: "weights under another name than model.safetensors",
        reason: "which file is meant would be a guess",
        remedy: "rename it to model.safetensors if it holds the whole model",
    },
    RefusedForm::pickled(".bin"),
    RefusedForm::pickled(".pt"),
    RefusedForm::pickled(".pth"),
    RefusedForm::pickled(".ckpt"),
    RefusedForm {
        suffix: ".gguf",
        name: "GGUF weights",
        reason: "their names and layout are those of llama.cpp, and most are quantised",
        remedy: "load the model with from_pretrained(folder, gguf_file=\"NAME\") and save it with save_pretrained(folder)",
    },
    RefusedForm::of_another_library(".h5", "TensorFlow weights"),
    RefusedForm::of_another_library(".msgpack", "Flax weights"),
];

/// The form of weights that files of these `names` show, and the file that shows it, where none is a form that is read.
pub fn refused_form<'n>(names: &[&'n str]) -> Option<(&'n str, &'static RefusedForm)> {
    let shows = |form: &'static RefusedForm| {
        let mut weights = names.iter().filter(|name| !is_companion(name));
        let name = weights.find(|name| name.ends_with(form.suffix))?;
        Some((*name, form))
    };
    REFUSED.iter().find_map(shows)
}

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
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match refused_form(&names) {
        Some((name, form)) => CheckpointError::UnreadForm {
            file: folder.join(name),
            form: form.name.to_owned(),
            reason: form.reason,
            remedy: form.remedy,
        },
        None => CheckpointError::NoWeights {
            folder: folder.to_owned(),
        },
    }
}

/// Files that lie beside weights under the same suffixes.
fn is_companion(name: &str) -> bool {
    name == RECORDING_FILE
        || name == "training_args.bin"
        || ["optimizer.", "scheduler."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}
