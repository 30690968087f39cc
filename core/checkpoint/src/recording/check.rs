//! What holds for every recording, before it is written and after it was read.

use std::path::Path;

use tlbench_sdk::{ATTENTION_MASK, Action, INPUT_IDS, POSITION_IDS};
use tlbench_sdk::{DType, Quantity, Stimulus, Tensor, TraceRequest};

use super::answer::asks_the_same;
use super::layout::{question_name, value_name};
use super::{RecordedAnswer, Recording, RecordingError};

impl Recording {
    /// Checks what the rest of the code relies on.
    pub(super) fn check(&self, file: &Path) -> Result<(), RecordingError> {
        for (index, answer) in self.answers.iter().enumerate() {
            let checker = Checker {
                file,
                index,
                answer,
            };
            let [batch, pos] = checker.inputs()?;
            checker.operands()?;
            checker.values(batch, pos)?;
            checker.floors()?;
        }
        self.check_precisions(file)?;
        for (second, answer) in self.answers.iter().enumerate() {
            if let Some(first) = self.answers[..second]
                .iter()
                .position(|other| is_ambiguous(&other.stimulus, &answer.stimulus))
            {
                return Err(RecordingError::Ambiguous {
                    file: file.to_owned(),
                    first,
                    second,
                });
            }
        }
        Ok(())
    }

    /// Plain questions have floors of the same precisions, and any other question of some of these.
    fn check_precisions(&self, file: &Path) -> Result<(), RecordingError> {
        let of =
            |answer: &RecordedAnswer| -> Vec<DType> { answer.floors.keys().copied().collect() };
        let is_plain = |answer: &&RecordedAnswer| answer.stimulus.request.is_plain();
        let first = self.answers.iter().find(is_plain).or(self.answers.first());
        let expected = first.map(of).unwrap_or_default();
        let fits = |answer: &RecordedAnswer| {
            let found = of(answer);
            if is_plain(&answer) {
                found == expected
            } else {
                expected.is_empty() == found.is_empty()
                    && found.iter().all(|precision| expected.contains(precision))
            }
        };
        let other = self.answers.iter().position(|answer| !fits(answer));
        other.map_or(Ok(()), |index| {
            Err(RecordingError::Precisions {
                file: file.to_owned(),
                answer: index,
                expected,
                found: of(&self.answers[index]),
            })
        })
    }
}

/// Whether it is open which of two answers is meant.
fn is_ambiguous(one: &Stimulus, other: &Stimulus) -> bool {
    one.id == other.id || asks_the_same(&one.request, &other.request)
}

struct Checker<'a> {
    file: &'a Path,
    index: usize,
    answer: &'a RecordedAnswer,
}

impl Checker<'_> {
    /// All three inputs are there, of integers and of one shape, which it returns.
    fn inputs(&self) -> Result<[usize; 2], RecordingError> {
        let mut expected = None;
        for name in [INPUT_IDS, ATTENTION_MASK, POSITION_IDS] {
            let stored = question_name(self.index, &format!("inputs/{name}"));
            let found = self.answer.stimulus.request.inputs.get(name);
            expected = match (
                found.map(|tensor| (tensor.dtype(), tensor.shape())),
                expected,
            ) {
                (Some((DType::I64, &[batch, pos])), None) if batch > 0 && pos > 0 => {
                    Some([batch, pos])
                }
                (Some((DType::I64, shape)), Some(first)) if shape == first => Some(first),
                (_, Some(first)) => {
                    return Err(self.tensor(stored, format!("i64 {first:?}"), found));
                }
                (_, None) => {
                    let expected = "i64 [batch, pos] with at least one token".to_owned();
                    return Err(self.tensor(stored, expected, found));
                }
            };
        }
        expected.ok_or_else(|| {
            self.tensor(
                question_name(self.index, "inputs"),
                "inputs".to_owned(),
                None,
            )
        })
    }

    /// What the question names is there.
    fn operands(&self) -> Result<(), RecordingError> {
        let question = &self.answer.stimulus.request;
        match operand_names(question).find(|name| !question.operands.contains_key(*name)) {
            None => Ok(()),
            Some(name) => {
                let stored = question_name(self.index, &format!("operands/{name}"));
                Err(self.tensor(
                    stored,
                    "the operand that the question names".to_owned(),
                    None,
                ))
            }
        }
    }

    /// Values of known shape have it.
    fn values(&self, batch: usize, pos: usize) -> Result<(), RecordingError> {
        for (quantity, value) in &self.answer.values {
            let (fits, expected) = match (quantity, value.shape()) {
                (Quantity::Logits | Quantity::LogProbs, shape) => (
                    shape.len() == 3 && shape[..2] == [batch, pos],
                    format!("[{batch}, {pos}, vocabulary]"),
                ),
                (Quantity::LossPerToken, shape) => {
                    (shape == [batch, pos - 1], format!("[{batch}, {}]", pos - 1))
                }
                _ => continue,
            };
            if !fits {
                return Err(self.tensor(value_name(self.index, quantity), expected, Some(value)));
            }
        }
        Ok(())
    }

    fn floors(&self) -> Result<(), RecordingError> {
        let floors = self.answer.floors.iter();
        let each = floors.flat_map(|(precision, floors)| {
            floors
                .iter()
                .map(move |(quantity, floor)| (precision, quantity, floor))
        });
        for (precision, quantity, floor) in each {
            let parts = [
                ("cumulative", Some(floor.cumulative)),
                ("local", floor.local),
            ];
            for (part, found) in parts {
                if let Some(found) = found.filter(|floor| !floor.is_finite() || *floor < 0.0) {
                    let (file, quantity) = (self.file.to_owned(), quantity.clone());
                    return Err(RecordingError::Floor {
                        file,
                        answer: self.index,
                        quantity,
                        precision: *precision,
                        part,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    fn tensor(&self, tensor: String, expected: String, found: Option<&Tensor>) -> RecordingError {
        let found = found.map_or("nothing".to_owned(), |found| {
            format!("{} {:?}", found.dtype(), found.shape())
        });
        RecordingError::Tensor {
            file: self.file.to_owned(),
            tensor,
            expected,
            found,
        }
    }
}

fn operand_names(question: &TraceRequest) -> impl Iterator<Item = &str> {
    let edits = question.interventions.iter();
    edits.filter_map(|edit| match &edit.action {
        Action::Add { operand } | Action::Replace { operand } => Some(operand.as_str()),
        Action::Zero | Action::Scale { .. } | Action::Perturb { .. } => None,
    })
}
