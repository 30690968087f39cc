//! The header of a safetensors file, checked before anything in it is believed.
//!
//! The rules are those of the `safetensors` crate, whose types these are; it is stricter in one point (a name that is
//! there twice), and says for each rule which tensor breaks it and how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::problem::HeaderProblem;
use super::stored_file::StoredFile;
use crate::error::CheckpointError;
use crate::json::{self, Position};

/// Bytes of the field that holds the header's length.
const LENGTH_FIELD: u64 = 8;
/// The crate's own limit.
const LONGEST_HEADER: u64 = 100_000_000;
const METADATA: &str = "__metadata__";

/// One tensor of a checked file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Where its bytes begin, from the start of the file.
    pub(super) begin: u64,
    pub(super) bytes: usize,
}

/// What a checked file holds.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, Entry>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Header {
    pub(super) fn read(file: &StoredFile) -> Result<Self, CheckpointError> {
        let problem = |problem| CheckpointError::Header {
            file: file.path().to_owned(),
            problem,
        };
        let available = file
            .len()
            .checked_sub(LENGTH_FIELD)
            .ok_or_else(|| problem(HeaderProblem::TooShort { found: file.len() }))?;
        let mut length = [0; 8];
        file.read_exact_at(&mut length, 0)?;
        let length = checked_length(u64::from_le_bytes(length), available).map_err(problem)?;
        let mut text = vec![0; length];
        file.read_exact_at(&mut text, LENGTH_FIELD)?;
        let length = length as u64;
        Self::parse(&text, LENGTH_FIELD + length, available - length).map_err(problem)
    }

    /// Reads `text`; the data begin at byte `data_begin` of the file, and are `available` bytes long.
    fn parse(text: &[u8], data_begin: u64, available: u64) -> Result<Self, HeaderProblem> {
        let raw: RawHeader = json::parse(text).map_err(|error| {
            let Position {
                column, message, ..
            } = error;
            HeaderProblem::Json { column, message }
        })?;
        check_names(&raw.tensors)?;
        let mut tensors = BTreeMap::new();
        let mut extents = Vec::with_capacity(raw.tensors.len());
        for (name, info) in raw.tensors {
            let extent = Extent::new(&name, &info, available)?;
            let begin = data_begin + extent.begin;
            let bytes = info.data_offsets.1 - info.data_offsets.0;
            let entry = Entry {
                dtype: info.dtype,
                shape: info.shape,
                begin,
                bytes,
            };
            tensors.insert(name, entry);
            extents.push(extent);
        }
        check_cover(extents, available)?;
        Ok(Self {
            tensors,
            metadata: raw.metadata,
        })
    }
}

/// Each name is there once. Asked before anything else: of two declarations, the one that is wrong may not be meant.
fn check_names(tensors: &[(String, TensorInfo)]) -> Result<(), HeaderProblem> {
    let mut names = BTreeSet::new();
    match tensors.iter().find(|(name, _)| !names.insert(name)) {
        None => Ok(()),
        Some((name, _)) => Err(HeaderProblem::Duplicate {
            tensor: name.clone(),
        }),
    }
}

fn checked_length(found: u64, available: u64) -> Result<usize, HeaderProblem> {
    let (limit, reason) = if available <= LONGEST_HEADER {
        (available, "the file ends there")
    } else {
        (LONGEST_HEADER, "the format's limit")
    };
    let fitting = usize::try_from(found).ok().filter(|_| found <= limit);
    fitting.ok_or(HeaderProblem::Length {
        limit,
        reason,
        found,
    })
}

/// The bytes of one tensor, from the start of the data.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Extent {
    begin: u64,
    end: u64,
    tensor: String,
}

impl Extent {
    /// Checks one tensor on its own.
    fn new(tensor: &str, info: &TensorInfo, available: u64) -> Result<Self, HeaderProblem> {
        let tensor = tensor.to_owned();
        let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let Some(found) = end.checked_sub(begin) else {
            return Err(HeaderProblem::Reversed { tensor, begin, end });
        };
        if end > available {
            return Err(HeaderProblem::BeyondTheFile {
                tensor,
                end,
                available,
            });
        }
        let dtype = info.dtype.to_string();
        let shape = info.shape.clone();
        match byte_count(info) {
            None => Err(HeaderProblem::Uncountable {
                tensor,
                dtype,
                shape,
            }),
            Some(expected) if expected != found => Err(HeaderProblem::Size {
                tensor,
                dtype,
                shape,
                expected,
                found,
            }),
            Some(_) => Ok(Self { begin, end, tensor }),
        }
    }
}

fn byte_count(info: &TensorInfo) -> Option<u64> {
    let elements = info
        .shape
        .iter()
        .try_fold(1_u64, |product, &size| product.checked_mul(size as u64))?;
    let bits = elements.checked_mul(info.dtype.bitsize() as u64)?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// Every byte of the data belongs to exactly one tensor.
fn check_cover(mut extents: Vec<Extent>, available: u64) -> Result<(), HeaderProblem> {
    extents.sort_unstable();
    let mut covered = 0;
    let mut before: Option<&Extent> = None;
    for extent in &extents {
        if let Some(other) = before.filter(|_| extent.begin < covered) {
            return Err(HeaderProblem::Overlap {
                tensor: extent.tensor.clone(),
                begin: extent.begin,
                other: other.tensor.clone(),
                end: covered,
            });
        }
        if extent.begin > covered {
            return Err(HeaderProblem::Gap {
                begin: covered,
                end: extent.begin,
            });
        }
        covered = extent.end;
        before = Some(extent);
    }
    if covered == available {
        Ok(())
    } else {
        Err(HeaderProblem::Gap {
            begin: covered,
            end: available,
        })
    }
}

/// The header as it is written: a map would hide that a name is there twice.
#[derive(Default)]
struct RawHeader {
    tensors: Vec<(String, TensorInfo)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry per tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                let metadata: Option<BTreeMap<String, String>> = map
                    .next_value()
                    .map_err(|error| A::Error::custom(format!("key `{METADATA}`: {error}")))?;
                header.metadata = metadata.unwrap_or_default();
            } else {
                let info = map
                    .next_value()
                    .map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
                header.tensors.push((name, info));
            }
        }
        Ok(header)
    }
}
