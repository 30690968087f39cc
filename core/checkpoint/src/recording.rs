//! Answers of a reference, recorded with the questions.
//!
//! A recording is one safetensors file, and in it a list of answered questions; so gradients, generation, answers to
//! interventions and other element types need no new format. The text is one JSON object, under the key
//! `tlbench_recording` of the file's `__metadata__`:
//!
//! ```json
//! {"format": 3, "provenance": {"transformers": "5.23.0"}, "config_digest": "sha256:...",
//!  "weights_digest": "sha256:...",
//!  "answers": [{"id": "text", "request": {"capture": ["logits"]},
//!               "floors": {"f32": {"logits": {"cumulative": 1e-7, "local": 1e-8}}}}]}
//! ```
//!
//! The tensors of answer `0` are `0/inputs/input_ids`, `0/inputs/attention_mask` and `0/inputs/position_ids`, what its
//! question names beside (`0/operands/NAME`, `0/truth/NAME`), and `0/value/QUANTITY` for all that it captures.
//! There is one truth, and floors for each precision that the reference ran in: the same ones for every plain question,
//! and some of these for any other, since gradients, edits and generation are judged in f32.
//! A quantity that follows from another one (`log_probs`) may have a floor and no value. The same recording is
//! the same bytes.

mod answer;
mod check;
mod error;
mod layout;
mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use tlbench_sdk::compare::Floor;
use tlbench_sdk::{DType, Quantity, SourceInfo, Stimulus, Tensor};

pub use self::error::RecordingError;

/// The name of the file with a model's recording, beside its weights.
pub const RECORDING_FILE: &str = "recording.safetensors";

/// The format that this build reads and writes.
pub const FORMAT: u64 = 3;

/// What one reference answered about one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Who answered (`transformers` -> `5.23.0`).
    pub provenance: BTreeMap<String, String>,
    /// Of the model's config: [`config_digest`](crate::config_digest).
    pub config_digest: String,
    /// Of the model's weights: [`weights_digest`](crate::weights_digest).
    pub weights_digest: String,
    /// The answers, no two of them to the same question or of the same name.
    pub answers: Vec<RecordedAnswer>,
}

/// One question, and the answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedAnswer {
    /// The question, with everything that is known of the answer as its `capture`.
    pub stimulus: Stimulus,
    /// All that was captured.
    pub values: BTreeMap<Quantity, Tensor>,
    /// How large the reference's own rounding error is, by the precision that it ran in.
    pub floors: BTreeMap<DType, Floors>,
}

/// How large a reference's own rounding error is in each quantity.
pub type Floors = BTreeMap<Quantity, Floor>;

impl Recording {
    /// The precisions whose rounding errors are known.
    pub fn precisions(&self) -> impl Iterator<Item = DType> {
        let known = self.answers.iter().flat_map(|answer| answer.floors.keys());
        known.copied().collect::<BTreeSet<DType>>().into_iter()
    }

    /// The questions that there are answers for with floors of `precision`, by which a subject is judged, and who
    /// answered.
    pub fn source_info(&self, precision: DType) -> SourceInfo {
        let mut provenance = self.provenance.clone();
        provenance.insert("dtype".to_owned(), precision.to_string());
        let judged = |answer: &&RecordedAnswer| answer.floors.contains_key(&precision);
        let stimuli = self.answers.iter().filter(judged);
        let stimuli = stimuli.map(|answer| answer.stimulus.clone());
        SourceInfo {
            stimuli: stimuli.collect(),
            provenance,
            ..SourceInfo::default()
        }
    }
}
