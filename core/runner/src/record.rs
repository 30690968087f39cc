//! `tlbench record`: what live HuggingFace answers, as a file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tlbench_checkpoint::CheckpointError;
use tlbench_checkpoint::recording::{RecordedAnswer, Recording, RecordingError};
use tlbench_sdk::{DType, OpenRequest, PluginError, ReferenceModel, Tier, TraceRequest};

use crate::config::{ModelEntry, RunSettings};
use crate::events::EventSink;
use crate::inputs::default_stimuli;
use crate::located::Located;
use crate::model::{Model, ModelError};
use crate::plugins::Registry;
use crate::references::ProgressHost;

/// Why no recording could be made.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Nobody can answer.
    #[error("no live HuggingFace: {0}")]
    NoReference(String),
    /// It did not answer.
    #[error("{reference}: {error}")]
    Trace {
        /// Who.
        reference: String,
        /// Why.
        error: PluginError,
    },
    /// It cannot be written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// Asks live HuggingFace everything that a run asks, and writes the answers to `out`.
///
/// # Errors
/// If the model cannot be read, HuggingFace is not to be had, or the file cannot be written.
pub fn record(
    entry: &ModelEntry,
    run: &RunSettings,
    registry: &Registry,
    options: &dyn Fn(&str) -> Map<String, Value>,
    out: &Path,
    sink: &dyn EventSink,
) -> Result<PathBuf, RecordError> {
    let located = Located::find(&entry.source, run.offline, sink).map_err(ModelError::from)?;
    let model = Model::open(&located.folder, entry.architecture.as_deref(), registry)?;
    let (config_digest, weights_digest) =
        (model.folder.config_digest(), model.folder.weights_digest()?);
    let stimuli = default_stimuli(&model, &entry.text, run.max_tokens)?;
    let request = |id: &str| OpenRequest {
        folder: model.folder.path().to_owned(),
        spec: model.spec.clone(),
        hooks: model.hooks.clone(),
        dtype: DType::F32,
        config_digest: config_digest.clone(),
        weights_digest: weights_digest.clone(),
        recording: None,
        stimuli: stimuli.clone(),
        options: options(id),
    };
    let mut reasons = Vec::new();
    for (id, offer) in &registry.references {
        let info = offer.object.info();
        // What repeats a recording cannot make one.
        if info.tier != Tier::HuggingFace || info.rank.is_none_or(|rank| rank == 0) {
            continue;
        }
        let source = match offer.object.open(&request(id), &ProgressHost(sink)) {
            Ok(source) => source,
            Err(error) => {
                reasons.push(format!("{id}: {error}"));
                continue;
            }
        };
        let answers = source
            .info()
            .stimuli
            .into_iter()
            .map(|stimulus| {
                let question =
                    TraceRequest::new(stimulus.inputs.clone(), stimulus.quantities.clone());
                let trace = source.trace(&question)?;
                Ok(RecordedAnswer {
                    question: TraceRequest::new(stimulus.inputs.clone(), Vec::new()),
                    stimulus,
                    trace,
                })
            })
            .collect::<Result<Vec<_>, PluginError>>()
            .map_err(|error| RecordError::Trace {
                reference: id.clone(),
                error,
            })?;
        let provenance = source.info().provenance;
        let recording = Recording {
            provenance,
            config_digest,
            weights_digest,
            dtype: DType::F32,
            answers,
        };
        recording.write(out)?;
        return Ok(out.to_owned());
    }
    let reason = if reasons.is_empty() {
        "no plugin offers it".to_owned()
    } else {
        reasons.join("; ")
    };
    Err(RecordError::NoReference(reason))
}
