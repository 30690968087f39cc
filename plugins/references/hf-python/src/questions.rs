//! What is asked of the worker, and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tlbench_python_worker::Method;
use tlbench_sdk::{HookPoint, Stimulus};

use crate::floors::Measurements;

/// Opens a checkpoint.
pub(crate) const OPEN: Method = Method {
    name: "open",
    doing: "opening the checkpoint",
};

/// Answers questions about the open checkpoint.
pub(crate) const RECORD: Method = Method {
    name: "record",
    doing: "reading the inputs",
};

/// Parameters of `open`.
#[derive(Serialize)]
pub(crate) struct Open<'a> {
    pub(crate) model: &'a str,
    pub(crate) hooks: &'a [HookPoint],
    pub(crate) dtype: &'a str,
}

/// Where the answers come from.
pub(crate) type Provenance = BTreeMap<String, String>;

/// Parameters of `record`; their tensors travel beside them, as
/// `ID/inputs/input_ids` and so on.
#[derive(Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) stimuli: &'a [Stimulus],
    pub(crate) seed: u64,
}

/// What came out of `record`; the truth travels beside it, as `ID/QUANTITY`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// By stimulus: what was measured, which may be more than was asked for.
    pub(crate) answers: BTreeMap<String, Measurements>,
    /// What the worker checked before it vouched for its answers, and how well it held.
    pub(crate) checks: BTreeMap<String, f64>,
    /// What else a reader of the answers should know.
    pub(crate) notes: Vec<String>,
}
