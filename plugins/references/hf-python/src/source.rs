//! An open checkpoint: what was answered when it was opened, and the worker for what comes up later.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tlbench_checkpoint::{Floors, RecordedAnswer, Recording};
use tlbench_python_worker::{Pool, Python, absolute, from_blob, to_blob};
use tlbench_sdk::{
    DType, ErrorKind, Host, OpenRequest, PluginError, Quantity, SourceInfo, Stimulus, TensorMap,
    Trace, TraceRequest, TraceSource,
};

use crate::answerable::{answerable, refusal};
use crate::continuation::continuation;
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
    /// Of every question so far, so that the floors of a short input are pooled with those of the longest that was asked
    /// the same about.
    measured: Vec<(TraceRequest, Measurements)>,
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
        let stimuli = answerable(&request.stimuli, &request.hooks, precision);
        let answers = if stimuli.is_empty() {
            Vec::new()
        } else {
            let (mut answers, report) = conversation.record(&stimuli, &progress)?;
            provenance.extend(checked(&report));
            if let Some(next) = continuation(&answers)? {
                let (more, _) = conversation.record(&[next], &progress)?;
                answers.extend(more);
            }
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

impl TraceSource for Live {
    fn info(&self) -> SourceInfo {
        self.recording.source_info(self.precision)
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        match self.recording.answer(request, self.precision) {
            Err(error) if error.kind == ErrorKind::Unsupported => {
                match refusal(request, self.precision) {
                    Some(reason) => Err(PluginError::unsupported(reason)),
                    None => {
                        let conversation = self.conversation.lock();
                        conversation
                            .unwrap_or_else(PoisonError::into_inner)
                            .answer(request)
                    }
                }
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
        let kind = without_input(&stimulus.request);
        let alike = self.measured.iter().filter(|(other, _)| *other == kind);
        let alike: Vec<&Measurements> = alike.map(|(_, measured)| measured).collect();
        let is_wanted =
            |quantity: &&Quantity| quantity.as_hook().is_none() || stimulus.shows(quantity);
        let quantities = measured.keys().filter(is_wanted);
        let roundoff = self.precision.roundoff();
        let floor = |quantity: &Quantity| {
            let floor = pooled(quantity, &measured[quantity], &alike, roundoff);
            (quantity.clone(), floor)
        };
        quantities.map(floor).collect()
    }

    /// The answers on each of `stimuli`, and what came with them.
    fn record(
        &mut self,
        stimuli: &[Stimulus],
        progress: &dyn Fn(&str),
    ) -> Result<(Vec<RecordedAnswer>, Report), PluginError> {
        let tensors: TensorMap = stimuli.iter().flat_map(named_tensors).collect();
        let question = Record {
            stimuli,
            seed: SEED,
        };
        let (report, blob) =
            self.python
                .ask::<Report>(RECORD, question, to_blob(&tensors)?, progress)?;
        let mut truth = from_blob(&blob)?;
        let new = self.measured.len();
        for stimulus in stimuli {
            let measurements = report.answers.get(&stimulus.id).cloned();
            let measurements = measurements.ok_or_else(|| missing(stimulus, "any quantity"))?;
            let kind = without_input(&stimulus.request);
            self.measured.push((kind, measurements));
        }
        let answers = stimuli.iter().zip(&self.measured[new..]);
        let answers = answers.map(|(stimulus, (_, measured))| {
            let floors = self.floors(stimulus, measured);
            answer(
                stimulus,
                BTreeMap::from([(self.precision, floors)]),
                &mut truth,
            )
        });
        Ok((answers.collect::<Result<_, _>>()?, report))
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

fn named_tensors(stimulus: &Stimulus) -> impl Iterator<Item = (String, tlbench_sdk::Tensor)> {
    let tensors = stimulus.request.tensors().into_iter();
    tensors.map(|(name, tensor)| (format!("{}/{name}", stimulus.id), tensor))
}

/// What is asked, whatever the input and whatever is looked at: errors of what is fed in pieces are like any others.
fn without_input(request: &TraceRequest) -> TraceRequest {
    TraceRequest {
        inputs: TensorMap::new(),
        capture: Vec::new(),
        chunks: Vec::new(),
        ..request.clone()
    }
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
