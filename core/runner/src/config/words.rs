//! Settings that are one of a few words, in a file or on the command line.

use std::fmt;
use std::str::FromStr;

use tlbench_sdk::{DType, Judging, Tier};

use super::problem::nearest;

/// Where the subject runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
}

impl FromStr for Device {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        choose(word, &[("cpu", Self::Cpu)]).map_err(|unknown| UnknownWord {
            expected: "`cpu`, the only device so far".into(),
            ..unknown
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
        }
    }
}

/// The precision on trial.
///
/// # Errors
/// If `word` is no precision that the subject runs in.
pub fn parse_dtype(word: &str) -> Result<DType, UnknownWord> {
    choose(
        word,
        &[DType::F32, DType::F64, DType::BF16, DType::F16].map(|dtype| (dtype.name(), dtype)),
    )
}

/// What decides between passing and failing.
///
/// # Errors
/// If `word` is no way of judging.
pub fn parse_judging(word: &str) -> Result<Judging, UnknownWord> {
    choose(
        word,
        &[
            ("calibrated", Judging::Calibrated),
            ("tolerance", Judging::Tolerance),
        ],
    )
}

/// What the subject is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceChoice {
    /// All references of a tier that want to be asked, in the order of their ranks: `hf`, `ht` or `bridge`.
    Tier(Tier),
    /// One reference, by its id.
    Id(String),
}

impl From<&str> for ReferenceChoice {
    fn from(word: &str) -> Self {
        match word {
            "hf" => Self::Tier(Tier::HuggingFace),
            "ht" => Self::Tier(Tier::HookedTransformer),
            "bridge" => Self::Tier(Tier::BridgeAlone),
            id => Self::Id(id.to_owned()),
        }
    }
}

impl fmt::Display for ReferenceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tier(Tier::HuggingFace) => "hf",
            Self::Tier(Tier::HookedTransformer) => "ht",
            Self::Tier(Tier::BridgeAlone) => "bridge",
            Self::Id(id) => id,
        })
    }
}

/// A word that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found \"{found}\"{}", did_you_mean(.suggestion.as_deref()))]
pub struct UnknownWord {
    /// The known ones.
    pub expected: String,
    /// The word.
    pub found: String,
    /// The known one that it resembles.
    pub suggestion: Option<String>,
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |word| format!("; did you mean `{word}`?"))
}

/// `` `a`, `b` or `c` ``.
fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

fn choose<T: Copy>(word: &str, choices: &[(&str, T)]) -> Result<T, UnknownWord> {
    let known = || choices.iter().map(|(known, _)| *known);
    choices
        .iter()
        .find(|(known, _)| *known == word)
        .map(|(_, choice)| *choice)
        .ok_or_else(|| UnknownWord {
            expected: alternatives(known()),
            found: word.to_owned(),
            suggestion: nearest(word, known()).map(str::to_owned),
        })
}
