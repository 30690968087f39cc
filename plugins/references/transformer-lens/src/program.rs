//! What runs in Python, what it is asked, and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tlbench_python_worker::{Library, Method, Program};
use tlbench_sdk::spec::Cut;
use tlbench_sdk::{Firings, HookPoint, TraceRequest};

use crate::architecture::Architecture;
use crate::options::Api;

pub(crate) static PROGRAM: Program = Program {
    reference: "transformer-lens",
    variable: "TLBENCH_TRANSFORMER_LENS_PYTHON",
    libraries: &[
        Library {
            module: "torch",
            package: "torch",
            oldest: None,
        },
        Library {
            module: "transformers",
            package: "transformers",
            oldest: None,
        },
        // The first whose bridge shows every hook of HookedTransformer by its name.
        Library {
            module: "transformer_lens",
            package: "transformer-lens",
            oldest: Some("3.9.0"),
        },
    ],
    modules: tlbench_python_worker::modules![
        "answer",
        "bridge",
        "checkpoint",
        "exact",
        "firing",
        "flags",
        "hooked",
        "main",
        "observing",
        "question",
        "runs",
    ],
};

/// Opens a checkpoint.
pub(crate) const OPEN: Method = Method {
    name: "open",
    doing: "opening the checkpoint",
};

/// Answers one question.
pub(crate) const ANSWER: Method = Method {
    name: "answer",
    doing: "answering",
};

/// Parameters of `open`; the checkpoint's tensors travel beside them, under their stored names.
#[derive(Serialize)]
pub(crate) struct Open<'a> {
    /// The first that the release has is taken.
    pub(crate) apis: &'a [Api],
    pub(crate) folder: &'a str,
    /// What HookedTransformer is told, if it can build the model.
    pub(crate) architecture: Option<Architecture>,
    pub(crate) weights: Vec<CutWeight>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) hooks: &'a [HookPoint],
    /// The precision in which it is looked at what fires.
    pub(crate) dtype: &'static str,
}

/// A canonical weight, and what it is cut from.
#[derive(Serialize)]
pub(crate) struct CutWeight {
    pub(crate) name: String,
    pub(crate) stored: String,
    pub(crate) cut: Vec<Cut>,
}

/// A weight that a component could have and has not.
#[derive(Serialize)]
pub(crate) struct Absent {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) neutral: f64,
}

/// What was opened.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opened {
    /// The class, and the versions of what it stands on.
    pub(crate) provenance: BTreeMap<String, String>,
    /// What fires in it.
    pub(crate) firings: Firings,
}

/// Parameters of `answer`; the request's tensors travel beside them, the values beside the reply.
#[derive(Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) request: &'a TraceRequest,
    pub(crate) dtype: &'static str,
    /// In how many pieces matrix products are summed.
    pub(crate) pieces: usize,
}

/// What `answer` says beside the values: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answered {}
