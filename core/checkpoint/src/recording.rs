//! Answers of a reference, recorded with the questions.
//!
//! A recording is one safetensors file, and in it a list of answered questions; so gradients, generation, answers to
//! interventions and other element types need no new format. The text is one JSON object, under the key
//! `tlbench_recording` of the file's `__metadata__`:
//!
//! ```json
//! {"format": 1, "provenance": {"transformers": "5.23.0"}, "config_digest": "sha256:...",
//!  "weights_digest": "sha256:...", "dtype": "f32",
//!  "answers": [{"stimulus": {"id": "text", "quantities": ["logits"]}, "question": {"capture": []},
//!               "values": ["logits"], "floors": {"logits": {"cumulative": 1e-7, "local": 1e-8}}}]}
//! ```
//!
//! The tensors of answer `0` are `0/inputs/input_ids`, `0/inputs/attention_mask` and `0/inputs/position_ids`, what its
//! question names beside (`0/operands/NAME`, `0/truth/NAME`), and `0/value/QUANTITY` for each of its `values`.
//! A quantity that follows from another one (`log_probs`) may have a floor and no value. The same recording is
//! the same bytes.

mod answer;
mod check;
mod error;
mod layout;
mod read;
mod write;

use std::collections::BTreeMap;

use tlbench_sdk::{DType, SourceInfo, Stimulus, Trace, TraceRequest};

pub use self::error::RecordingError;

/// The name of the file with a model's recording, beside its weights.
pub const RECORDING_FILE: &str = "recording.safetensors";

/// The format that this build reads and writes.
pub const FORMAT: u64 = 1;

/// What one reference answered about one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Who answered (`transformers` -> `5.23.0`).
    pub provenance: BTreeMap<String, String>,
    /// Of the model's config: [`config_digest`](crate::config_digest).
    pub config_digest: String,
    /// Of the model's weights: [`weights_digest`](crate::weights_digest).
    pub weights_digest: String,
    /// The precision that the floors are about.
    pub dtype: DType,
    /// The answers, no two of them to the same question.
    pub answers: Vec<RecordedAnswer>,
}

/// One question, and the answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedAnswer {
    /// The input, by name. Its tensors are those of the question.
    pub stimulus: Stimulus,
    /// The question, with its tensors. What is captured is up to who asks: `capture` is empty.
    pub question: TraceRequest,
    /// All that was captured, and the floors.
    pub trace: Trace,
}

impl Recording {
    /// The inputs that there are answers for, each with all that is shown on it, and who answered.
    pub fn source_info(&self) -> SourceInfo {
        let mut stimuli: Vec<Stimulus> = Vec::new();
        for RecordedAnswer { stimulus, .. } in &self.answers {
            match stimuli
                .iter_mut()
                .find(|known| known.id == stimulus.id && known.inputs == stimulus.inputs)
            {
                None => stimuli.push(stimulus.clone()),
                Some(known) => {
                    let new = stimulus
                        .quantities
                        .iter()
                        .filter(|quantity| !known.quantities.contains(quantity));
                    let new: Vec<_> = new.cloned().collect();
                    known.quantities.extend(new);
                }
            }
        }
        SourceInfo {
            stimuli,
            provenance: self.provenance.clone(),
        }
    }
}
