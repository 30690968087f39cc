//! Which files of a repository make up a model. Nothing else of it is downloaded.

use std::collections::BTreeSet;

use tlbench_checkpoint::{CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, refused_form};

use crate::description::{Description, RemoteFile};
use crate::error::HubError;
use crate::id::HubId;

/// What a model may have besides.
pub(crate) const OPTIONAL: [&str; 4] = [
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
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
        let (weights, file) = match (description.file(WEIGHTS_FILE), description.file(INDEX_FILE)) {
            (Some(file), _) => (Weights::Whole, file),
            (None, Some(index)) => (Weights::Sharded, index),
            (None, None) => return Err(no_weights(id, description)),
        };
        let config = config_file(id, description)?;
        let optional = OPTIONAL.iter().filter_map(|name| description.file(name));
        let files = [config].into_iter().chain(optional).chain([file]).collect();
        Ok(Self { files, weights })
    }
}

/// The config in the repository.
pub(crate) fn config_file<'a>(
    id: &HubId,
    description: &'a Description,
) -> Result<&'a RemoteFile, HubError> {
    let config = description.file(CONFIG_FILE);
    config.ok_or_else(|| no_model(id, CONFIG_FILE, description))
}

/// The files of `names` in the repository.
pub(crate) fn listed<'a>(
    id: &HubId,
    description: &'a Description,
    names: &BTreeSet<String>,
) -> Result<Vec<&'a RemoteFile>, HubError> {
    let file = |name: &String| {
        description.file(name).ok_or_else(|| HubError::NoShard {
            id: id.clone(),
            shard: name.clone(),
        })
    };
    names.iter().map(file).collect()
}

/// Why there is nothing to read: a form that is known and not read, if there is one.
fn no_weights(id: &HubId, description: &Description) -> HubError {
    match refused_form(&names(description)) {
        Some((file, form)) => HubError::UnreadForm {
            id: id.clone(),
            file: file.to_owned(),
            form,
        },
        None => no_model(id, WEIGHTS_FILE, description),
    }
}

fn no_model(id: &HubId, expected: &'static str, description: &Description) -> HubError {
    HubError::NoModel {
        id: id.clone(),
        expected,
        found: shown(description),
    }
}

fn names(description: &Description) -> Vec<&str> {
    let files = description.files.iter();
    files.map(|file| file.name.as_str()).collect()
}

/// The first files of a repository, for an error message.
fn shown(description: &Description) -> String {
    let names = names(description);
    match names.len().checked_sub(SHOWN) {
        None | Some(0) if names.is_empty() => "no file at all".to_owned(),
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
