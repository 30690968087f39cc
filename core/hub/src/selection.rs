//! Which files of a repository make up a model. Nothing else of it is downloaded.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cache::stays_inside;
use crate::description::{Description, RemoteFile};
use crate::error::HubError;
use crate::id::HubId;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// What a model may have besides.
pub(crate) const OPTIONAL: [&str; 4] = [
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

const PICKLED: &str = "load it with transformers, save it with save_pretrained(FOLDER) and name that folder, or name a \
                       revision that has a model.safetensors (often refs/pr/1)";
const QUANTISED: &str = "load it with from_pretrained(.., gguf_file=..), save it with save_pretrained(FOLDER) and name \
                         that folder, or name the repository that it was made of";
const ADAPTER: &str = "merge it into its base model with merge_and_unload(), save that with save_pretrained(FOLDER) and \
                       name that folder";
const MISNAMED: &str = "name a repository or a folder with a model.safetensors";

/// Forms of weights that are not read, by how their files' names end. Those that say more stand first.
const FORMS: [(&str, &str, &str); 10] = [
    (
        "adapter_model.safetensors",
        "adapters without their base model",
        ADAPTER,
    ),
    (
        "adapter_model.bin",
        "adapters without their base model",
        ADAPTER,
    ),
    (".bin", "pickled weights", PICKLED),
    (".pt", "pickled weights", PICKLED),
    (".pth", "pickled weights", PICKLED),
    (".ckpt", "pickled weights", PICKLED),
    (".gguf", "GGUF weights", QUANTISED),
    (".h5", "TensorFlow weights", PICKLED),
    (".msgpack", "Flax weights", PICKLED),
    (
        ".safetensors",
        "weights under another name than model.safetensors",
        MISNAMED,
    ),
];

/// Files that lie beside weights under the same suffixes.
const COMPANIONS: [&str; 4] = [
    "training_args.bin",
    "optimizer.bin",
    "optimizer.pt",
    "scheduler.pt",
];

/// How many files an error message names.
const SHOWN: usize = 6;

/// The files that are needed and known by name. Shards come on top, once the index has been read.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    /// Small ones first, so that a refusal comes before anything large.
    pub(crate) files: Vec<&'a RemoteFile>,
    pub(crate) weights: Weights,
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// In one file.
    Whole,
    /// In several, which an index names.
    Sharded,
}

impl<'a> Selection<'a> {
    /// What is needed of the model `id`.
    pub(crate) fn of(id: &HubId, description: &'a Description) -> Result<Self, HubError> {
        let (weights, file) = match (description.file(WEIGHTS), description.file(INDEX)) {
            (Some(file), _) => (Weights::Whole, file),
            (None, Some(index)) => (Weights::Sharded, index),
            (None, None) => return Err(no_weights(id, description)),
        };
        let config = description.file(CONFIG);
        let config = config.ok_or_else(|| no_model(id, CONFIG, description))?;
        let optional = OPTIONAL.iter().filter_map(|name| description.file(name));
        let files = [config].into_iter().chain(optional).chain([file]).collect();
        Ok(Self { files, weights })
    }
}

/// The shards that the text of an index names, each once.
pub(crate) fn shards(id: &HubId, text: &str) -> Result<BTreeSet<String>, HubError> {
    let wrong = |expected, found| HubError::Index {
        id: id.clone(),
        file: INDEX.to_owned(),
        expected,
        found,
    };
    let expected = "an index with a `weight_map` from tensors to files";
    let index: Value = serde_json::from_str(text)
        .map_err(|error| wrong(expected, format!("something else ({error})")))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong(expected, "none".to_owned()))?;
    let shard = |value: &Value| match value.as_str() {
        Some(name) if stays_inside(name) => Ok(name.to_owned()),
        _ => Err(wrong(
            "the name of a file beside the index",
            value.to_string(),
        )),
    };
    let shards: BTreeSet<String> = map.values().map(shard).collect::<Result<_, _>>()?;
    if shards.is_empty() {
        return Err(wrong("the files of the weights", "none".to_owned()));
    }
    Ok(shards)
}

/// The files of `names` in the repository.
pub(crate) fn listed<'a>(
    id: &HubId,
    description: &'a Description,
    names: &BTreeSet<String>,
) -> Result<Vec<&'a RemoteFile>, HubError> {
    let file = |name: &String| {
        description.file(name).ok_or_else(|| HubError::Index {
            id: id.clone(),
            file: INDEX.to_owned(),
            expected: "files that the repository has",
            found: format!("`{name}`, which it has not"),
        })
    };
    names.iter().map(file).collect()
}

/// Why there is nothing to read: a form that is known and not read, if there is one.
fn no_weights(id: &HubId, description: &Description) -> HubError {
    let names = || description.files.iter().map(|file| file.name.as_str());
    let is_weights = |name: &&str| !COMPANIONS.iter().any(|companion| name.ends_with(companion));
    let form = FORMS.iter().find_map(|(suffix, form, remedy)| {
        let name = names()
            .filter(is_weights)
            .find(|name| name.ends_with(suffix))?;
        Some(HubError::UnreadForm {
            id: id.clone(),
            file: name.to_owned(),
            form,
            remedy,
        })
    });
    form.unwrap_or_else(|| no_model(id, WEIGHTS, description))
}

fn no_model(id: &HubId, expected: &'static str, description: &Description) -> HubError {
    HubError::NoModel {
        id: id.clone(),
        expected,
        found: shown(description),
    }
}

/// The first files of a repository, for an error message.
fn shown(description: &Description) -> String {
    let names: Vec<&str> = description
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) if names.is_empty() => "no file at all".to_owned(),
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
