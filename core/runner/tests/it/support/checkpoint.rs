//! Copies of the shipped checkpoint, with something changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Map, Value, json};

use super::fixture;

/// A copy of the shipped checkpoint, without its recording.
pub(crate) struct Checkpoint {
    folder: PathBuf,
}

/// A stored tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Stored {
    /// The same tensor with every element multiplied.
    pub(crate) fn scaled(&self, factor: f32) -> Self {
        self.converted(self.dtype, |value| (value * factor).to_le_bytes().to_vec())
    }

    /// The same tensor of f32 with every element written as `convert` says, which makes it one of `dtype`.
    pub(crate) fn converted(&self, dtype: Dtype, convert: impl Fn(f32) -> Vec<u8>) -> Self {
        let bytes = self.bytes.chunks_exact(4).flat_map(|bytes| {
            let value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            convert(value)
        });
        Self {
            dtype,
            bytes: bytes.collect(),
            ..self.clone()
        }
    }
}

impl Checkpoint {
    /// Copies it to `folder`.
    pub(crate) fn at(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        for file in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ] {
            fs::copy(fixture(file), folder.join(file)).unwrap();
        }
        Self { folder }
    }

    /// With the recording of the shipped checkpoint beside it.
    pub(crate) fn with_recording(self) -> Self {
        let name = "recording.safetensors";
        fs::copy(fixture(name), self.file(name)).unwrap();
        self
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Changes `config.json`.
    pub(crate) fn with_config(self, edit: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let file = self.file("config.json");
        let mut config = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        edit(&mut config);
        fs::write(file, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
        self
    }

    /// Changes the weights.
    pub(crate) fn with_tensors(self, edit: impl FnOnce(&mut BTreeMap<String, Stored>)) -> Self {
        let file = self.file("model.safetensors");
        let mut tensors = read(&file);
        edit(&mut tensors);
        write(&file, &tensors);
        self
    }

    /// Spreads the weights over `count` files, with an index.
    pub(crate) fn in_shards(self, count: usize) -> Self {
        let whole = self.file("model.safetensors");
        let mut shards = vec![BTreeMap::new(); count];
        let mut weight_map = Map::new();
        for (index, (name, stored)) in read(&whole).into_iter().enumerate() {
            let shard = index % count;
            weight_map.insert(name.clone(), shard_name(shard, count).into());
            shards[shard].insert(name, stored);
        }
        for (shard, tensors) in shards.iter().enumerate() {
            write(&self.file(&shard_name(shard, count)), tensors);
        }
        let index = json!({"metadata": {"total_size": 0}, "weight_map": weight_map});
        fs::write(self.file("model.safetensors.index.json"), index.to_string()).unwrap();
        self.without("model.safetensors")
    }

    /// Takes a file away.
    pub(crate) fn without(self, name: &str) -> Self {
        fs::remove_file(self.file(name)).unwrap();
        self
    }

    /// Puts other bytes in the place of a file.
    pub(crate) fn with_file(self, name: &str, edit: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let file = self.file(name);
        fs::write(&file, edit(fs::read(&file).unwrap())).unwrap();
        self
    }
}

fn shard_name(shard: usize, count: usize) -> String {
    format!("model-{:05}-of-{count:05}.safetensors", shard + 1)
}

fn write(file: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, stored)| {
        let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes);
        (name, view.unwrap())
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    fs::write(file, serialize(views, Some(metadata)).unwrap()).unwrap();
}

fn read(file: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |(name, view): (String, TensorView<'_>)| {
        let stored = Stored {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        };
        (name, stored)
    };
    tensors.tensors().into_iter().map(stored).collect()
}
