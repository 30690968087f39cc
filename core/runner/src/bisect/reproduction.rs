//! The inputs and outputs of what is wrong, as a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path as FilePath, PathBuf};

use serde_json::{Map, Value};
use tlbench_checkpoint::{Weights, write_tensors};
use tlbench_sdk::spec::{AttentionSpec, ModelSpec, TensorSource};
use tlbench_sdk::{Dim, HookPoint, Tensor, TensorMap};

use super::error::BisectError;
use super::narrow::{Place, Wrong};
use super::operation::{At, LOGITS};
use super::path::Path;

/// The name of the file in its folder.
pub const REPRODUCTION_FILE: &str = "reproduction.safetensors";

/// A reproduction on disk.
#[derive(Clone, Debug)]
pub struct Reproduction {
    /// The file.
    pub file: PathBuf,
    /// What is in it, by name and shape.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// The part of the value that it shows, in words.
    pub place: String,
    /// The error ratio of that part.
    pub ratio: f64,
}

/// What a reproduction is made of.
pub(crate) struct Material<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) hooks: &'a [HookPoint],
    pub(crate) weights: &'a Weights,
    pub(crate) path: &'a Path,
    pub(crate) wrong: &'a Wrong<'a>,
    /// The error ratio of the whole value.
    pub(crate) ratio: f64,
    /// The values that are known, and the model's inputs.
    pub(crate) values: &'a TensorMap,
}

impl Material<'_> {
    /// Writes it to `folder`, with `told` in words.
    pub(crate) fn write(
        &self,
        folder: &FilePath,
        told: BTreeMap<String, String>,
    ) -> Result<Reproduction, BisectError> {
        let cut = |name: &str| {
            let name = name.to_owned();
            move |error| BisectError::Cut { name, error }
        };
        let result = self.result();
        let place = self.wrong.place().map_err(cut(result))?;
        let ratio = if place == Place::default() {
            self.ratio
        } else {
            self.wrong.ratio(&place).map_err(cut(result))?
        };
        let mut tensors = self.inputs(&place)?;
        tensors.extend(self.weights()?);
        for (kind, value) in [("expected", self.wrong.truth), ("found", self.wrong.found)] {
            let part = place.part(value, self.wrong.dims, At::Same);
            tensors.insert(format!("{kind}/{result}"), part.map_err(cut(result))?);
        }
        let shapes = tensors.iter();
        let shapes = shapes.map(|(name, tensor)| (name.clone(), tensor.shape().to_vec()));
        let shapes = shapes.collect();
        let mut metadata = told;
        metadata.extend(self.metadata(&place, ratio));
        fs::create_dir_all(folder).map_err(|error| BisectError::Folder {
            folder: folder.to_owned(),
            error,
        })?;
        let file = folder.join(REPRODUCTION_FILE);
        write_tensors(tensors, metadata, &file)?;
        Ok(Reproduction {
            file,
            tensors: shapes,
            place: place.text(),
            ratio,
        })
    }

    fn result(&self) -> &str {
        let last = self.path.operations.last();
        last.map_or(LOGITS, |operation| &operation.result)
    }

    fn inputs(&self, place: &Place) -> Result<TensorMap, BisectError> {
        let part = |(name, at): (&String, &At)| {
            let value = self.values.get(name)?;
            let part = place.part(value, &self.dims(name), *at);
            let part = part.map_err(|error| BisectError::Cut {
                name: name.clone(),
                error,
            });
            Some(part.map(|part| (format!("inputs/{name}"), part)))
        };
        self.path.inputs.iter().filter_map(part).collect()
    }

    fn dims(&self, name: &str) -> Vec<Dim> {
        let hook = self.hooks.iter().find(|hook| hook.name == name);
        // What is no hook is an input of the model.
        hook.map_or_else(|| vec![Dim::Batch, Dim::Pos], |hook| hook.shape.clone())
    }

    fn weights(&self) -> Result<TensorMap, BisectError> {
        let parts = self.path.operations.iter();
        let parts: Vec<&String> = parts.flat_map(|operation| &operation.weights).collect();
        let is_of = |name: &str, part: &str| {
            let rest = name.strip_prefix(part);
            rest.is_some_and(|rest| ["", ".weight", ".bias"].contains(&rest))
        };
        let sources = self.spec.sources().into_iter();
        sources
            .filter(|(name, _)| parts.iter().any(|part| is_of(name, part)))
            .map(|(name, source)| Ok((format!("weights/{name}"), self.weight(&name, source)?)))
            .collect()
    }

    fn weight(&self, name: &str, source: &TensorSource) -> Result<Tensor, BisectError> {
        let stored = self.weights.read(self.weights.resolve(source)?)?;
        let cut = source
            .cut
            .iter()
            .try_fold(stored, |tensor, cut| cut.apply(&tensor));
        cut.map_err(|error| BisectError::Cut {
            name: name.to_owned(),
            error,
        })
    }

    fn metadata(&self, place: &Place, ratio: f64) -> BTreeMap<String, String> {
        let operations = &self.path.operations;
        let formulas = operations
            .iter()
            .map(|operation| format!("{} = {}", operation.result, operation.formula));
        let parameters: Map<String, Value> = operations
            .iter()
            .map(|operation| {
                let parameters = Value::Object(operation.parameters.clone());
                (operation.result.clone(), parameters)
            })
            .collect();
        [
            ("operations", formulas.collect::<Vec<_>>().join("\n")),
            ("parameters", Value::Object(parameters).to_string()),
            ("place", place.text()),
            ("error_ratio", format!("{ratio:.4e}")),
            ("floor", format!("{:e}", self.wrong.floor)),
        ]
        .map(|(name, text)| (name.to_owned(), text))
        .into()
    }
}

/// The attention of the block that `hook` is in.
pub(crate) fn attention_of<'a>(spec: &'a ModelSpec, hook: &str) -> Option<&'a AttentionSpec> {
    let layer = spec.layers.get(tlbench_sdk::layer_of(hook)?)?;
    layer.attn.as_ref().map(|branch| &branch.body)
}
