//! From a file to a recording.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use tlbench_sdk::{Quantity, Stimulus, Tensor, TensorMap};

use super::layout::{AnswerLayout, KEY, Layout, Place, Version, place, value_name};
use super::{FORMAT, RecordedAnswer, Recording, RecordingError};
use crate::json::Position;
use crate::weights::Weights;

impl Recording {
    /// Reads the recording in `file`. Nothing in it is believed before it was checked.
    ///
    /// # Errors
    /// If the file cannot be read, is no recording, or contradicts itself.
    pub fn read(file: &Path) -> Result<Self, RecordingError> {
        let weights = Weights::open(file)?;
        let layout = read_layout(&weights)?;
        let mut tensors = read_tensors(&weights, &layout)?.into_iter();
        let answers = layout
            .answers
            .into_iter()
            .map(|answer| assemble(answer, tensors.next().unwrap_or_default()));
        let recording = Self {
            answers: answers.collect(),
            provenance: layout.provenance,
            config_digest: layout.config_digest,
            weights_digest: layout.weights_digest,
        };
        recording.check(file)?;
        Ok(recording)
    }
}

fn read_layout(weights: &Weights) -> Result<Layout, RecordingError> {
    let file = weights.file();
    let text = weights
        .metadata()
        .get(KEY)
        .ok_or_else(|| RecordingError::NotARecording {
            file: file.to_owned(),
        })?;
    let Version { format } = parse(file, text)?;
    if format != FORMAT {
        return Err(RecordingError::Format {
            file: file.to_owned(),
            found: format,
        });
    }
    parse(file, text)
}

fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, RecordingError> {
    serde_json::from_str(text).map_err(|error| {
        let Position {
            line,
            column,
            message,
        } = error.into();
        RecordingError::Json {
            file: file.to_owned(),
            line,
            column,
            message,
        }
    })
}

/// The tensors of one answer.
#[derive(Default)]
struct AnswerTensors {
    question: TensorMap,
    values: BTreeMap<Quantity, Tensor>,
}

fn read_tensors(weights: &Weights, layout: &Layout) -> Result<Vec<AnswerTensors>, RecordingError> {
    let wrong = |tensor: &str, expected: &str, found: &str| RecordingError::Tensor {
        file: weights.file().to_owned(),
        tensor: tensor.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    let mut answers: Vec<AnswerTensors> = layout
        .answers
        .iter()
        .map(|_| AnswerTensors::default())
        .collect();
    for name in weights.names() {
        let stray = || wrong(name, "one that an answer declares", "a stray one");
        let (index, place) = place(name).ok_or_else(stray)?;
        let (declared, read) = layout
            .answers
            .get(index)
            .zip(answers.get_mut(index))
            .ok_or_else(stray)?;
        match place {
            Place::Question(tensor) => {
                read.question.insert(tensor.to_owned(), weights.read(name)?);
            }
            Place::Value(text) => {
                let quantity: Quantity = text.parse().map_err(|_| stray())?;
                if !declared.request.capture.contains(&quantity) {
                    return Err(stray());
                }
                read.values.insert(quantity, weights.read(name)?);
            }
        }
    }
    for (index, (declared, read)) in layout.answers.iter().zip(&answers).enumerate() {
        if let Some(quantity) = declared
            .request
            .capture
            .iter()
            .find(|quantity| !read.values.contains_key(quantity))
        {
            return Err(wrong(
                &value_name(index, quantity),
                "the value that the answer declares",
                "nothing",
            ));
        }
    }
    Ok(answers)
}

fn assemble(answer: AnswerLayout, tensors: AnswerTensors) -> RecordedAnswer {
    let AnswerLayout {
        id,
        mut request,
        floors,
    } = answer;
    request.set_tensors(tensors.question);
    RecordedAnswer {
        stimulus: Stimulus { id, request },
        values: tensors.values,
        floors,
    }
}
