//! `tlbench twin`: a small model of the same family and features, with weights in which no fault hides.

mod contexts;
mod error;
mod features;
mod layers;
mod report;
mod shrink;
mod sizes;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tlbench_checkpoint::{CONFIG_FILE, ModelConfig, RECORDING_FILE, WEIGHTS_FILE, write_weights};
use tlbench_sdk::{DType, ModelSpec, Tensor};

use crate::config::{ModelEntry, ModelSource, RunSettings};
use crate::events::EventSink;
use crate::located::Located;
use crate::model::{ModelError, adapter};
use crate::plugins::Registry;
use crate::record::{Extent, RecordError, record};
pub use error::TwinError;
pub use features::Features;
pub use report::{human, machine};
pub use shrink::{HeadWidth, Shrunk};
pub use weights::DrawError;

/// No dimension of a tensor is larger.
const LARGEST: usize = 512;

/// What is wanted of a twin.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The folder that it is written to.
    pub folder: &'a Path,
    /// What its weights are drawn from.
    pub seed: u64,
    /// Whether its heads have a width of their own.
    pub heads: HeadWidth,
    /// Whether HuggingFace is asked about it.
    pub recording: Wanted,
}

/// Whether a recording is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    No,
    /// If there is somebody to ask.
    IfPossible,
    /// It is an error if there is none.
    Yes,
}

/// A twin on disk.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Its folder.
    pub folder: PathBuf,
    /// The config of the model.
    pub original: Map<String, Value>,
    /// What it is made from.
    pub shrunk: Shrunk,
    /// How many layers the model has.
    pub n_layers: usize,
    /// What the adapter makes of it.
    pub spec: ModelSpec,
    /// The precision of its weights.
    pub dtype: DType,
    /// How many weights it has.
    pub parameters: usize,
    /// What became of the recording.
    pub recording: Recorded,
}

/// What became of a twin's recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is in this file.
    File(PathBuf),
    /// It was not wanted.
    NotWanted,
    /// There is nobody to ask, for this reason.
    Nobody(String),
}

/// Makes a twin of the model of `entry`, of which no more than the config is looked at.
///
/// # Errors
/// If the config cannot be read, is of a model that has no twin, or the twin cannot be written or recorded.
pub fn twin(
    entry: &ModelEntry,
    run: &RunSettings,
    order: &Order<'_>,
    registry: &Registry,
    options: &dyn Fn(&str) -> Map<String, Value>,
    sink: &dyn EventSink,
) -> Result<Twin, TwinError> {
    refuse_occupied(order.folder)?;
    let located = Located::find_config(&entry.source, run.offline, sink);
    let folder = located.map_err(ModelError::from)?.folder;
    let pair = Pair::read(
        &folder,
        entry.architecture.as_deref(),
        order.heads,
        registry,
    )?;
    pair.check()?;
    let dtype = dtype(&pair.shrunk.config);
    let tensors = weights::draw(&pair.of_twin, dtype, order.seed);
    let tensors = tensors.map_err(|error| TwinError::Draw {
        file: pair.file.clone(),
        error,
    })?;
    let parameters = tensors.values().map(Tensor::len).sum();
    write_config(&pair.shrunk.config, order.folder)?;
    write_weights(tensors, &order.folder.join(WEIGHTS_FILE))?;
    let entry = ModelEntry {
        source: ModelSource::Folder(order.folder.to_owned()),
        ..entry.clone()
    };
    Ok(Twin {
        folder: order.folder.to_owned(),
        original: pair.original,
        shrunk: pair.shrunk,
        n_layers: pair.of_model.layers.len(),
        spec: pair.of_twin,
        dtype,
        parameters,
        recording: recorded(&entry, run, order, registry, options, sink)?,
    })
}

/// A model and its twin, by their configs and what the adapter makes of those.
struct Pair {
    /// The model's config, for messages.
    file: PathBuf,
    original: Map<String, Value>,
    of_model: ModelSpec,
    shrunk: Shrunk,
    of_twin: ModelSpec,
}

impl Pair {
    fn read(
        folder: &Path,
        architecture: Option<&str>,
        heads: HeadWidth,
        registry: &Registry,
    ) -> Result<Self, TwinError> {
        let ModelConfig { keys, model_type } = ModelConfig::open(folder)?;
        let file = folder.join(CONFIG_FILE);
        let adapter = &adapter(architecture, &model_type, &file, registry)?.object;
        let of_model = adapter.adapt(&keys).map_err(|error| {
            let file = file.clone();
            ModelError::Adapter { file, error }
        })?;
        let shrunk = Shrunk::of(&keys, &of_model, heads);
        let of_twin = adapter.adapt(&shrunk.config).map_err(|error| {
            let file = file.clone();
            TwinError::Refused { file, error }
        })?;
        Ok(Self {
            file,
            original: keys,
            of_model: of_model.spec,
            shrunk,
            of_twin: of_twin.spec,
        })
    }

    /// Whether the twin is small, and of the model's features.
    fn check(&self) -> Result<(), TwinError> {
        let file = self.file.clone();
        let sources = self.of_twin.sources();
        let mut sources = sources.iter().map(|(_, source)| source);
        if let Some(large) = sources.find(|source| source.shape.iter().any(|&size| size > LARGEST))
        {
            return Err(TwinError::Large {
                file,
                tensor: large.names.first().cloned().unwrap_or_default(),
                shape: large.shape.clone(),
                limit: LARGEST,
            });
        }
        let expected = Features::of(&self.of_model).with_layers(&self.shrunk.layers);
        match expected.difference(&Features::of(&self.of_twin)) {
            None => Ok(()),
            Some(difference) => Err(TwinError::Unlike {
                file,
                place: difference.place,
                expected: difference.expected.to_string(),
                found: difference.found.to_string(),
            }),
        }
    }
}

/// What lies in a folder may be a model, and is nobody's to overwrite.
fn refuse_occupied(folder: &Path) -> Result<(), TwinError> {
    let Ok(mut files) = fs::read_dir(folder) else {
        return Ok(());
    };
    match files.next() {
        None => Ok(()),
        Some(file) => Err(TwinError::Occupied {
            folder: folder.to_owned(),
            found: file.map_or_else(
                |error| error.to_string(),
                |file| file.file_name().to_string_lossy().into_owned(),
            ),
        }),
    }
}

/// The precision that the config says its weights are in, if it is one of those that weights are read in.
fn dtype(config: &Map<String, Value>) -> DType {
    let names = ["dtype", "torch_dtype"];
    match names.iter().find_map(|&name| config.get(name)?.as_str()) {
        Some("bfloat16") => DType::BF16,
        Some("float16") => DType::F16,
        _ => DType::F32,
    }
}

fn write_config(config: &Map<String, Value>, folder: &Path) -> Result<(), TwinError> {
    let file = folder.join(CONFIG_FILE);
    let text = format!("{:#}\n", Value::Object(config.clone()));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| TwinError::Output { file, error })
}

fn recorded(
    entry: &ModelEntry,
    run: &RunSettings,
    order: &Order<'_>,
    registry: &Registry,
    options: &dyn Fn(&str) -> Map<String, Value>,
    sink: &dyn EventSink,
) -> Result<Recorded, RecordError> {
    if order.recording == Wanted::No {
        return Ok(Recorded::NotWanted);
    }
    let extent = Extent {
        precisions: vec![DType::F32, DType::BF16, DType::F16],
        parameter_gradients: true,
    };
    let out = order.folder.join(RECORDING_FILE);
    match record(entry, run, &extent, registry, options, &out, sink) {
        Ok(file) => Ok(Recorded::File(file)),
        Err(RecordError::NoReference(reason)) if order.recording == Wanted::IfPossible => {
            Ok(Recorded::Nobody(reason))
        }
        Err(error) => Err(error),
    }
}
