//! From a recording to a file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use tlbench_sdk::Quantity;

use super::layout::{AnswerLayout, KEY, Layout, question_name, value_name};
use super::{FORMAT, RecordedAnswer, Recording, RecordingError};
use crate::error::CheckpointError;
use crate::stored::StoredTensor;

impl Recording {
    /// Writes the recording to `file`, whole or not at all. The same recording gives the same bytes.
    ///
    /// # Errors
    /// If it contradicts itself, or cannot be written.
    pub fn write(&self, file: &Path) -> Result<(), RecordingError> {
        self.check(file)?;
        self.check_parts_that_are_not_stored(file)?;
        let metadata = HashMap::from([(KEY.to_owned(), self.layout_text(file)?)]);
        let bytes = safetensors::serialize(self.tensors(), Some(metadata)).map_err(|error| {
            RecordingError::TooLarge {
                file: file.to_owned(),
                message: error.to_string(),
            }
        })?;
        let partial = file.with_extension("partial");
        let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, file));
        written.map_err(|error| {
            // It may not be there; what matters is the first error.
            let _ = fs::remove_file(&partial);
            CheckpointError::io(file, "write")(error)
        })?;
        Ok(())
    }

    /// What would not come back from the file as it is.
    fn check_parts_that_are_not_stored(&self, file: &Path) -> Result<(), RecordingError> {
        let captured = |answer: &RecordedAnswer| -> BTreeSet<Quantity> {
            answer.stimulus.request.capture.iter().cloned().collect()
        };
        let odd = self
            .answers
            .iter()
            .position(|answer| !captured(answer).iter().eq(answer.values.keys()));
        odd.map_or(Ok(()), |answer| {
            Err(RecordingError::Unwritable {
                file: file.to_owned(),
                answer,
                expected: "a value for each quantity of `capture`, and no other",
            })
        })
    }

    fn layout_text(&self, file: &Path) -> Result<String, RecordingError> {
        let layout = Layout {
            format: FORMAT,
            provenance: self.provenance.clone(),
            config_digest: self.config_digest.clone(),
            weights_digest: self.weights_digest.clone(),
            answers: self.answers.iter().map(answer_layout).collect(),
        };
        serde_json::to_string(&layout).map_err(|error| RecordingError::TooLarge {
            file: file.to_owned(),
            message: error.to_string(),
        })
    }

    fn tensors(&self) -> BTreeMap<String, StoredTensor> {
        let mut tensors = BTreeMap::new();
        for (index, answer) in self.answers.iter().enumerate() {
            for (name, tensor) in answer.stimulus.request.tensors() {
                tensors.insert(question_name(index, &name), StoredTensor(tensor));
            }
            for (quantity, value) in &answer.values {
                tensors.insert(value_name(index, quantity), StoredTensor(value.clone()));
            }
        }
        tensors
    }
}

fn answer_layout(answer: &RecordedAnswer) -> AnswerLayout {
    AnswerLayout {
        id: answer.stimulus.id.clone(),
        request: answer.stimulus.request.clone(),
        floors: answer.floors.clone(),
    }
}
