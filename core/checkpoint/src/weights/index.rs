//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::Stored;
use super::header::Header;
use super::stored_file::StoredFile;
use crate::error::CheckpointError;
use crate::json;

/// Where an index contradicts itself or its shards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexProblem {
    /// No shard at all.
    #[error("key `weight_map`: expected the shard of each tensor, found no tensor")]
    Empty,
    /// A tensor that the index puts into two places.
    #[error("key `weight_map`: tensor `{tensor}` is there twice")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// A shard that would lie somewhere else.
    #[error("tensor `{tensor}`: expected the name of a file beside the index, found `{shard}`")]
    Elsewhere {
        /// The tensor.
        tensor: String,
        /// Where it should be.
        shard: String,
    },
    /// A shard that is not there.
    #[error("shard `{shard}` is missing: it holds {tensors} of {of} tensors, `{first}` among them")]
    MissingShard {
        /// The file's name.
        shard: String,
        /// How many tensors it should hold.
        tensors: usize,
        /// How many there are in all.
        of: usize,
        /// One of its tensors.
        first: String,
    },
    /// A tensor that is not in its shard.
    #[error("tensor `{tensor}`: expected it in shard `{shard}`, which does not hold it")]
    MissingTensor {
        /// The name.
        tensor: String,
        /// Where it should be.
        shard: String,
    },
    /// A tensor that two shards hold: which one counts would be a guess.
    #[error("tensor `{tensor}` is in two shards, `{first}` and `{second}`")]
    TwoShards {
        /// The name.
        tensor: String,
        /// One of the shards.
        first: String,
        /// The other.
        second: String,
    },
}

/// The files that an index names, which need not be there yet.
///
/// # Errors
/// If it cannot be read, or contradicts itself.
pub fn shard_names(index: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    Ok(Index::read(index)?.places.into_values().collect())
}

/// An index whose shards were not looked at yet.
#[derive(Debug)]
pub(super) struct Index {
    file: PathBuf,
    /// Tensor to shard.
    places: BTreeMap<String, String>,
}

/// The shards of an index.
#[derive(Debug)]
pub(super) struct Shards {
    pub(super) files: Vec<StoredFile>,
    pub(super) tensors: BTreeMap<String, Stored>,
}

impl Index {
    pub(super) fn read(file: &Path) -> Result<Self, CheckpointError> {
        let mut index = Self {
            file: file.to_owned(),
            places: BTreeMap::new(),
        };
        let RawIndex { weight_map } = json::read(file)?;
        for (tensor, shard) in weight_map.0 {
            if !is_file_name(&shard) {
                return Err(index.problem(IndexProblem::Elsewhere { tensor, shard }));
            }
            if index.places.insert(tensor.clone(), shard).is_some() {
                return Err(index.problem(IndexProblem::Duplicate { tensor }));
            }
        }
        if index.places.is_empty() {
            return Err(index.problem(IndexProblem::Empty));
        }
        Ok(index)
    }

    pub(super) fn open_shards(&self) -> Result<Shards, CheckpointError> {
        let names: Vec<&String> = BTreeSet::from_iter(self.places.values())
            .into_iter()
            .collect();
        let mut shards = Shards {
            files: Vec::with_capacity(names.len()),
            tensors: BTreeMap::new(),
        };
        for (number, name) in names.iter().enumerate() {
            let file = self.open_shard(name)?;
            for (tensor, entry) in Header::read(&file)?.tensors {
                let stored = Stored {
                    file: number,
                    entry,
                };
                if let Some(other) = shards.tensors.insert(tensor.clone(), stored) {
                    return Err(self.problem(IndexProblem::TwoShards {
                        tensor,
                        first: names[other.file].clone(),
                        second: (*name).clone(),
                    }));
                }
            }
            shards.files.push(file);
        }
        self.check_places(&shards, &names)?;
        Ok(shards)
    }

    fn open_shard(&self, name: &str) -> Result<StoredFile, CheckpointError> {
        let path = self.file.with_file_name(name);
        if path.exists() {
            return StoredFile::open(path);
        }
        let mut its = self.places.iter().filter(|(_, shard)| *shard == name);
        let first = its
            .next()
            .map_or_else(String::new, |(tensor, _)| tensor.clone());
        Err(self.problem(IndexProblem::MissingShard {
            shard: name.to_owned(),
            tensors: 1 + its.count(),
            of: self.places.len(),
            first,
        }))
    }

    fn check_places(&self, shards: &Shards, names: &[&String]) -> Result<(), CheckpointError> {
        let is_there = |tensor: &String, shard: &String| {
            let stored = shards.tensors.get(tensor);
            stored.is_some_and(|stored| names[stored.file] == shard)
        };
        let missing = self
            .places
            .iter()
            .find(|(tensor, shard)| !is_there(tensor, shard));
        missing.map_or(Ok(()), |(tensor, shard)| {
            Err(self.problem(IndexProblem::MissingTensor {
                tensor: tensor.clone(),
                shard: shard.clone(),
            }))
        })
    }

    fn problem(&self, problem: IndexProblem) -> CheckpointError {
        CheckpointError::Index {
            file: self.file.clone(),
            problem,
        }
    }
}

/// Whether `name` can only mean a file in the same folder.
fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}

/// The part of an index that matters; `metadata` repeats what the shards say themselves.
#[derive(serde::Deserialize)]
#[serde(expecting = "an object with the key `weight_map`")]
struct RawIndex {
    weight_map: WeightMap,
}

/// As it is written: a map would hide that a name is there twice.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightMapVisitor)
    }
}

struct WeightMapVisitor;

impl<'de> Visitor<'de> for WeightMapVisitor {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the shard of each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut places = Vec::new();
        while let Some(place) = map.next_entry()? {
            places.push(place);
        }
        Ok(WeightMap(places))
    }
}
