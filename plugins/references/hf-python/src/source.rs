//! An open checkpoint: what was answered when it was opened, and the worker for what comes up later.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tlbench_checkpoint::{Floors, RecordedAnswer, Recording};
use tlbench_python_worker::{Pool, Python, from_blob, to_blob};
use tlbench_sdk::{
    DType, ErrorKind, HookPoint, Host, OpenRequest, PluginError, Quantity, SourceInfo, Stimulus,
    TensorMap, Trace, TraceRequest, TraceSource,
};

use crate::floors::{Measurements, pooled};
use crate::questions::{OPEN, Open, Provenance, RECORD, Record, Report};

/// Of the directions in which derivatives are checked.
const SEED: u64 = 0;

/// The name of an input that was not announced.
const UNANNOUNCED: &str = "unannounced";

/// A checkpoint that is open in Python.
pub(crate) struct Live {
    recording: Recording,
    /// The precision whose rounding errors are measured.
    precision: DType,
    conversation: Mutex<Conversation>,
}

struct Conversation {
    python: Python,
    precision: DType,
    /// Of every input so far, so that the floors of a short one are pooled with those of the longest.
    measured: Vec<Measurements>,
}

impl Live {
    pub(crate) fn open(
        pythons: &Pool,
        request: &OpenRequest,
        host: &dyn Host,
    ) -> Result<Self, PluginError> {
        let precision = precision_for(request.dtype)?;
        let progress = |message: &str| host.progress(message);
        let python = pythons.take(&request.options, &progress)?;
        let model = absolute(&request.folder)?;
        let open = Open {
            model: &model,
            hooks: &request.hooks,
            dtype: precision.name(),
        };
        let (mut provenance, _) = python.ask::<Provenance>(OPEN, open, Vec::new(), &progress)?;
        let mut conversation = Conversation {
            python,
            precision,
            measured: Vec::new(),
        };
        let stimuli = observable(&request.stimuli, &request.hooks);
        let answers = if stimuli.is_empty() {
            Vec::new()
        } else {
            let (answers, checked) = conversation.record(&stimuli, &progress)?;
            provenance.extend(checked);
            answers
        };
        let recording = Recording {
            provenance,
            config_digest: request.config_digest.clone(),
            weights_digest: request.weights_digest.clone(),
            answers,
        };
        Ok(Self {
            recording,
            precision,
            conversation: Mutex::new(conversation),
        })
    }
}

/// The same inputs without the hooks that transformers shows nowhere: what is not there cannot be compared.
fn observable(stimuli: &[Stimulus], hooks: &[HookPoint]) -> Vec<Stimulus> {
    let is_shown = |quantity: &Quantity| match quantity.as_hook() {
        Some(name) => hooks
            .iter()
            .any(|hook| hook.name == name && hook.hf_tap.is_some()),
        None => true,
    };
    let mut stimuli = stimuli.to_vec();
    for stimulus in &mut stimuli {
        stimulus.request.capture.retain(is_shown);
    }
    stimuli
}

impl TraceSource for Live {
    fn info(&self) -> SourceInfo {
        self.recording.source_info(self.precision)
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        match self.recording.answer(request, self.precision) {
            Err(error) if error.kind == ErrorKind::Unsupported && answerable(request) => {
                let conversation = self.conversation.lock();
                conversation
                    .unwrap_or_else(PoisonError::into_inner)
                    .answer(request)
            }
            answered => answered,
        }
    }
}

impl Conversation {
    /// Answers one question that was not announced.
    fn answer(&mut self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let stimulus = Stimulus {
            id: UNANNOUNCED.to_owned(),
            request: request.clone(),
        };
        let (mut answers, _) = self.record(&[stimulus], &|_| {})?;
        let answer = answers
            .pop()
            .ok_or_else(|| PluginError::internal("the worker gave no answer"))?;
        let RecordedAnswer {
            values, mut floors, ..
        } = answer;
        Ok(Trace {
            values,
            floors: floors.remove(&self.precision).unwrap_or_default(),
        })
    }

    /// The floors of what was asked for, and of what follows from it.
    fn floors(&self, stimulus: &Stimulus, measured: &Measurements) -> Floors {
        let is_wanted =
            |quantity: &&Quantity| quantity.as_hook().is_none() || stimulus.shows(quantity);
        let quantities = measured.keys().filter(is_wanted);
        let roundoff = self.precision.roundoff();
        let floor = |quantity: &Quantity| {
            let floor = pooled(quantity, &measured[quantity], &self.measured, roundoff);
            (quantity.clone(), floor)
        };
        quantities.map(floor).collect()
    }

    /// The answers on each of `stimuli`, and what was checked on the way.
    fn record(
        &mut self,
        stimuli: &[Stimulus],
        progress: &dyn Fn(&str),
    ) -> Result<(Vec<RecordedAnswer>, Provenance), PluginError> {
        let inputs: TensorMap = stimuli.iter().flat_map(named_inputs).collect();
        let question = Record {
            stimuli,
            seed: SEED,
        };
        let (report, blob) =
            self.python
                .ask::<Report>(RECORD, question, to_blob(&inputs)?, progress)?;
        let mut truth = from_blob(&blob)?;
        let checked = checked(&report);
        let new = self.measured.len();
        for stimulus in stimuli {
            let measurements = report.answers.get(&stimulus.id).cloned();
            self.measured
                .push(measurements.ok_or_else(|| missing(stimulus, "any quantity"))?);
        }
        let answers = stimuli.iter().zip(&self.measured[new..]);
        let answers = answers.map(|(stimulus, measured)| {
            let floors = self.floors(stimulus, measured);
            answer(
                stimulus,
                BTreeMap::from([(self.precision, floors)]),
                &mut truth,
            )
        });
        Ok((answers.collect::<Result<_, _>>()?, checked))
    }
}

/// The answer on one input: the truth of what was asked for, beside its floors.
fn answer(
    stimulus: &Stimulus,
    floors: BTreeMap<DType, Floors>,
    truth: &mut TensorMap,
) -> Result<RecordedAnswer, PluginError> {
    let value = |quantity: &Quantity| {
        let value = truth.remove(&format!("{}/{quantity}", stimulus.id));
        let value = value.ok_or_else(|| missing(stimulus, quantity))?;
        Ok((quantity.clone(), value))
    };
    let values = stimulus.request.capture.iter().map(value);
    Ok(RecordedAnswer {
        values: values.collect::<Result<_, PluginError>>()?,
        stimulus: stimulus.clone(),
        floors,
    })
}

/// The checks and notes of a report, for the reader of a recording.
fn checked(report: &Report) -> Provenance {
    let checks = report
        .checks
        .iter()
        .map(|(check, error)| (check.clone(), format!("{error:.1e}")));
    let notes = (!report.notes.is_empty()).then(|| ("notes".to_owned(), report.notes.join("; ")));
    checks.chain(notes).collect()
}

fn named_inputs(stimulus: &Stimulus) -> impl Iterator<Item = (String, tlbench_sdk::Tensor)> {
    stimulus
        .request
        .inputs
        .iter()
        .map(|(name, tensor)| (format!("{}/{name}", stimulus.id), tensor.clone()))
}

fn missing(stimulus: &Stimulus, what: impl std::fmt::Display) -> PluginError {
    PluginError::internal(format!(
        "the worker gave no answer for {what} on `{}`",
        stimulus.id
    ))
}

/// The precision whose rounding errors a subject is judged by: its own, or f32 for one in f64.
fn precision_for(subject: DType) -> Result<DType, PluginError> {
    match subject {
        DType::F32 | DType::F64 => Ok(DType::F32),
        DType::BF16 | DType::F16 => Ok(subject),
        DType::I64 => Err(PluginError::unsupported(format!(
            "hf-python measures no rounding of {subject}"
        ))),
    }
}

/// Nothing but captures on some input, about the weights as they are.
fn answerable(request: &TraceRequest) -> bool {
    request.is_plain() && request.processing.is_raw()
}

fn absolute(folder: &Path) -> Result<String, PluginError> {
    let folder = std::path::absolute(folder).map_err(|error| {
        PluginError::io(format!(
            "cannot tell where {} is: {error}",
            folder.display()
        ))
    })?;
    folder.to_str().map(str::to_owned).ok_or_else(|| {
        PluginError::invalid_input(format!(
            "{} is no UTF-8, which Python is told in",
            folder.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::Padding;

    use super::*;

    #[test]
    fn hooks_without_a_tap_are_not_asked_for() {
        let hook = |name: &str, tap: &str| HookPoint {
            name: name.into(),
            shape: Vec::new(),
            order: 0,
            gate: None,
            hf_tap: (!tap.is_empty()).then(|| tlbench_sdk::spec::HfTap::output(tap)),
        };
        let mut text = Stimulus::from_rows("text", &[vec![1, 2]], Padding::Right, 0).unwrap();
        text.request.capture = vec![
            Quantity::hook("shown"),
            Quantity::hook("hidden"),
            Quantity::Logits,
        ];
        let asked = observable(&[text], &[hook("shown", "root.shown"), hook("hidden", "")]);
        assert_eq!(
            asked[0].request.capture,
            [Quantity::hook("shown"), Quantity::Logits]
        );
    }
}
