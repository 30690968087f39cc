//! How a recording is laid out: its text, and the names of its tensors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tlbench_sdk::{DType, Quantity, TraceRequest};

use super::Floors;

/// The key of the text in a safetensors file's metadata.
pub(super) const KEY: &str = "tlbench_recording";

/// Read first, and alone: another format may differ in everything else.
#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    pub(super) format: u64,
    pub(super) provenance: BTreeMap<String, String>,
    pub(super) config_digest: String,
    pub(super) weights_digest: String,
    pub(super) answers: Vec<AnswerLayout>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerLayout {
    pub(super) id: String,
    pub(super) request: TraceRequest,
    pub(super) floors: BTreeMap<DType, Floors>,
}

/// What a tensor of a recording is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// Of a question, by the name that [`TraceRequest::set_tensors`] knows.
    Question(&'a str),
    /// Of an answer.
    Value(&'a str),
}

/// The name of the tensor that answer `answer` gives for `quantity`.
pub(super) fn value_name(answer: usize, quantity: &Quantity) -> String {
    format!("{answer}/value/{quantity}")
}

/// The name of a tensor of the question of answer `answer`.
pub(super) fn question_name(answer: usize, tensor: &str) -> String {
    format!("{answer}/{tensor}")
}

/// Which answer the tensor `name` belongs to, and what it is there.
pub(super) fn place(name: &str) -> Option<(usize, Place<'_>)> {
    let (answer, rest) = name.split_once('/')?;
    let index: usize = answer.parse().ok()?;
    // `+1` and `01` are numbers, but not the names that are written.
    if index.to_string() != answer {
        return None;
    }
    match rest.split_once('/')? {
        ("value", quantity) => Some((index, Place::Value(quantity))),
        ("inputs" | "operands" | "truth", _) => Some((index, Place::Question(rest))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(
            place("0/inputs/input_ids"),
            Some((0, Place::Question("inputs/input_ids")))
        );
        assert_eq!(
            place("12/value/hook:a/b"),
            Some((12, Place::Value("hook:a/b")))
        );
        for other in [
            "",
            "0",
            "0/value",
            "x/value/logits",
            "+1/value/logits",
            "01/value/logits",
            "0/wte/weight",
        ] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
