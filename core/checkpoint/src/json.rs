//! JSON files, with errors that say where.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::CheckpointError;

/// Where a parser stopped, and why.
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl From<serde_json::Error> for Position {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let mut message = error.to_string();
        // The parser repeats the position at the end of its message.
        let suffix = format!(" at line {line} column {column}");
        if message.ends_with(&suffix) {
            message.truncate(message.len() - suffix.len());
        }
        // What is refused before a byte was read is refused at column 0.
        Self {
            line,
            column: column.max(1),
            message,
        }
    }
}

/// Reads `bytes` as a `T`. All of them have to be UTF-8, also where nothing is read: so it is for every other reader.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Position> {
    let text = str::from_utf8(bytes).map_err(|error| Position::of(bytes, error.valid_up_to()))?;
    serde_json::from_str(text).map_err(Position::from)
}

impl Position {
    /// The first byte that is no UTF-8, at `offset`.
    fn of(bytes: &[u8], offset: usize) -> Self {
        let before = &bytes[..offset];
        let line_start = before.iter().rposition(|&byte| byte == b'\n');
        Self {
            line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
            column: offset - line_start.map_or(0, |newline| newline + 1) + 1,
            message: "invalid UTF-8".to_owned(),
        }
    }
}

/// Reads `file` as a `T`.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<T, CheckpointError> {
    let text = fs::read(file).map_err(CheckpointError::io(file, "read"))?;
    parse(&text).map_err(|error| {
        let Position {
            line,
            column,
            message,
        } = error;
        CheckpointError::Json {
            file: file.to_owned(),
            line,
            column,
            message,
        }
    })
}

/// Reads `file` as an object.
pub(crate) fn read_object(file: &Path) -> Result<Map<String, Value>, CheckpointError> {
    match read(file)? {
        Value::Object(map) => Ok(map),
        other => Err(CheckpointError::Json {
            file: file.to_owned(),
            line: 1,
            column: 1,
            message: format!("expected an object, found {}", shown(&other)),
        }),
    }
}

/// A value for an error message: whole if it is short.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        text
    } else {
        text.chars()
            .take(LONGEST - 3)
            .chain("...".chars())
            .collect()
    }
}
