//! What can be wrong with a config file, and how it is told.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tlbench_hub::HubIdError;

use super::words::UnknownWord;

/// A config file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The operating system said no, or it is no text.
    #[error("{}: cannot be read: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not everything in it is understood.
    #[error("{}", lines(.file, .problems))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong, from top to bottom.
        problems: Vec<Problem>,
    },
}

fn lines(file: &Path, problems: &[Problem]) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}:{problem}", file.display()))
        .collect();
    lines.join("\n")
}

/// Something in a config file that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// What.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.kind)
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1 on.
    pub line: usize,
    /// In characters, from 1 on.
    pub column: usize,
}

impl Position {
    /// The place of byte `offset`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// It is no TOML.
    #[error("no valid TOML: {message}")]
    Syntax {
        /// As the parser says it.
        message: String,
    },
    /// A number that fits into neither 64 bits of integer nor of float.
    #[error("the number `{number}` is out of range")]
    OutOfRange {
        /// As it stands there.
        number: String,
    },
    /// A key that means nothing.
    #[error("unknown key `{key}` {place}; {hint}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The table that it stands in (`in [run]`).
        place: &'static str,
        /// What may have been meant.
        hint: Hint,
    },
    /// A key without which its table means nothing.
    #[error("no key `{key}` {place}: expected {expected}")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// The table that it is missing from.
        place: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A value of the wrong kind.
    #[error("key `{key}` {place}: expected {expected}, found {found}")]
    WrongValue {
        /// The key.
        key: String,
        /// The table that it stands in.
        place: &'static str,
        /// In words.
        expected: &'static str,
        /// As it stands there, or in words.
        found: String,
    },
    /// A word that is none of the known ones.
    #[error("key `{key}` {place}: {word}")]
    UnknownWord {
        /// The key.
        key: String,
        /// The table that it stands in.
        place: &'static str,
        /// The word, and the known ones.
        word: UnknownWord,
    },
    /// Two keys of which either is enough.
    #[error("key `{key}` {place}: expected either `{other}` or `{key}`, found both")]
    Exclusive {
        /// The key.
        key: &'static str,
        /// The other one.
        other: &'static str,
        /// The table that they stand in.
        place: &'static str,
    },
    /// A text that names no model of the Hub.
    #[error("key `{key}` {place}: {error}")]
    NoHubId {
        /// The key.
        key: &'static str,
        /// The table that it stands in.
        place: &'static str,
        /// What is wrong with it.
        error: HubIdError,
    },
    /// A second model of the same name.
    #[error(
        "model `{name}`: the model at {first} has the same name; give one of them another `name`"
    )]
    SameName {
        /// The name.
        name: String,
        /// Where the first is.
        first: Position,
    },
}

/// What may have been meant by a key that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A key of another table.
    BelongsElsewhere {
        /// That table (`in [run]`).
        place: &'static str,
    },
    /// A key that is spelt much the same.
    Resembles {
        /// That key.
        key: &'static str,
    },
    /// One of these.
    Known {
        /// The keys of the table.
        keys: &'static [&'static str],
    },
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelongsElsewhere { place } => write!(f, "it belongs {place}"),
            Self::Resembles { key } => write!(f, "did you mean `{key}`?"),
            Self::Known { keys } => write!(f, "known are `{}`", keys.join("`, `")),
        }
    }
}

/// The word among `known` that `word` resembles, if one does.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Prefixes count more than endings: `record` resembles `recording`, `model` resembles `models`.
    known
        .map(|known| (strsim::jaro_winkler(word, known), known))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}
