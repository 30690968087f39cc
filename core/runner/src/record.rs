//! `tlbench record`: what live HuggingFace answers, as a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tlbench_checkpoint::CheckpointError;
use tlbench_checkpoint::recording::{RecordedAnswer, Recording, RecordingError};
use tlbench_sdk::{
    DType, OpenRequest, PluginError, Processing, Quantity, ReferenceModel, Role, Stimulus, Tier,
    Trace, TraceSource,
};

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

/// How much a recording holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Those whose rounding errors are measured.
    pub precisions: Vec<DType>,
    /// Whether it holds the gradients of parameters. They take as much room as the weights do in f32.
    pub parameter_gradients: bool,
}

impl Extent {
    /// What is asked of `stimuli`.
    fn of(&self, mut stimuli: Vec<Stimulus>) -> Vec<Stimulus> {
        if !self.parameter_gradients {
            for stimulus in &mut stimuli {
                let capture = &mut stimulus.request.capture;
                capture.retain(|quantity| !matches!(quantity, Quantity::ParameterGradient(_)));
            }
        }
        stimuli.retain(|stimulus| !stimulus.request.capture.is_empty());
        stimuli
    }
}

/// Asks live HuggingFace what a run asks, as far as `extent` goes, and writes the answers to `out`.
///
/// # Errors
/// If the model cannot be read, HuggingFace is not to be had, or the file cannot be written.
pub fn record(
    entry: &ModelEntry,
    run: &RunSettings,
    extent: &Extent,
    registry: &Registry,
    options: &dyn Fn(&str) -> Map<String, Value>,
    out: &Path,
    sink: &dyn EventSink,
) -> Result<PathBuf, RecordError> {
    let located = Located::find(&entry.source, run.offline, sink).map_err(ModelError::from)?;
    let model = Model::open(&located.folder, entry.architecture.as_deref(), registry)?;
    let stimuli = default_stimuli(&model, &Processing::raw(), &entry.prompt, run.max_tokens)?;
    let mut stimuli = extent.of(stimuli);
    let mut recording = Recording {
        provenance: BTreeMap::new(),
        config_digest: model.folder.config_digest(),
        weights_digest: model.folder.weights_digest()?,
        answers: Vec::new(),
    };
    // f32 first: everything is answered there, and more may be asked about the answers.
    let mut precisions = extent.precisions.clone();
    precisions.sort_by_key(|precision| *precision != DType::F32);
    for precision in precisions {
        let request = |id: &str| OpenRequest {
            folder: model.folder.path().to_owned(),
            spec: model.spec.clone(),
            hooks: model.hooks.clone(),
            role: Role::Reference,
            dtype: precision,
            config_digest: recording.config_digest.clone(),
            weights_digest: recording.weights_digest.clone(),
            recording: None,
            stimuli: stimuli.clone(),
            options: options(id),
        };
        let (id, source) = open_live(registry, request, sink)?;
        let failed = |error| RecordError::Trace {
            reference: id.clone(),
            error,
        };
        let answers = answers(source.as_ref(), precision).map_err(failed)?;
        add(&mut recording, source.info().provenance, answers).map_err(failed)?;
        let answered = recording.answers.iter();
        stimuli = answered.map(|answer| answer.stimulus.clone()).collect();
    }
    recording.write(out)?;
    Ok(out.to_owned())
}

/// Opens the first reference that can make a recording.
fn open_live(
    registry: &Registry,
    request: impl Fn(&str) -> OpenRequest,
    sink: &dyn EventSink,
) -> Result<(String, Box<dyn TraceSource>), RecordError> {
    let mut reasons = Vec::new();
    for (id, offer) in &registry.references {
        let info = offer.object.info();
        // What repeats a recording cannot make one.
        if info.tier != Tier::HuggingFace || info.rank.is_none_or(|rank| rank == 0) {
            continue;
        }
        match offer.object.open(&request(id), &ProgressHost(sink)) {
            Ok(source) => return Ok((id.clone(), source)),
            Err(error) => reasons.push(format!("{id}: {error}")),
        }
    }
    let reason = if reasons.is_empty() {
        "no plugin offers it".to_owned()
    } else {
        reasons.join("; ")
    };
    Err(RecordError::NoReference(reason))
}

/// Everything that `source` knows, with the rounding errors of `precision`.
fn answers(source: &dyn TraceSource, precision: DType) -> Result<Vec<RecordedAnswer>, PluginError> {
    let answer = |stimulus: Stimulus| {
        let Trace { values, floors } = source.trace(&stimulus.request)?;
        Ok(RecordedAnswer {
            stimulus,
            values,
            floors: BTreeMap::from([(precision, floors)]),
        })
    };
    source.info().stimuli.into_iter().map(answer).collect()
}

/// Adds the floors of one more precision, and the questions that others were not asked: in narrow precisions those are
/// the plain ones. The truth is the same whatever the precision, so a difference says that the reference does not
/// repeat itself.
fn add(
    recording: &mut Recording,
    provenance: BTreeMap<String, String>,
    answers: Vec<RecordedAnswer>,
) -> Result<(), PluginError> {
    recording.provenance.extend(provenance);
    // What the floors are about is said beside them.
    recording.provenance.remove("dtype");
    for answer in answers {
        let id = &answer.stimulus.id;
        let mut known = recording.answers.iter_mut();
        let Some(known) = known.find(|known| known.stimulus.id == *id) else {
            recording.answers.push(answer);
            continue;
        };
        if (&known.stimulus, &known.values) != (&answer.stimulus, &answer.values) {
            return Err(PluginError::internal(format!(
                "on input `{id}` it answered otherwise when it was asked again"
            )));
        }
        known.floors.extend(answer.floors);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::Padding;

    use super::*;

    fn showing(id: &str, capture: &[Quantity]) -> Stimulus {
        let stimulus = Stimulus::from_rows(id, &[vec![1]], Padding::Right, 0).unwrap();
        stimulus.showing(capture.to_vec())
    }

    #[test]
    fn gradients_of_parameters_are_left_out_and_nothing_else() {
        let [hook, parameter] = [
            Quantity::HookGradient("hook_embed".into()),
            Quantity::ParameterGradient("wte.weight".into()),
        ];
        let asked = vec![
            showing("text", &[Quantity::Logits]),
            showing("projection", &[hook.clone(), parameter.clone()]),
            showing("parameters", &[parameter]),
        ];
        let extent = |parameter_gradients| Extent {
            precisions: vec![DType::F32],
            parameter_gradients,
        };
        let kept = [asked[0].clone(), showing("projection", &[hook])];
        assert_eq!(extent(false).of(asked.clone()), kept);
        assert_eq!(extent(true).of(asked.clone()), asked);
    }
}
