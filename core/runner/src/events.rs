//! What happens during a run. Reports are functions of these events and of nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use tlbench_sdk::{DType, Detail, Divergence, Judging, Measurement, Mode, Severity, Tier, Verdict};

use crate::diagnosis::{Diagnosis, Likeness};
use crate::located::HubCopy;
use crate::sensitivity::{FaultJudged, Score};

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// tlbench's version.
        version: String,
        /// `cpu`.
        device: String,
        /// What decides.
        judging: Judging,
    },
    /// A plugin could not be used.
    PluginProblem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
        /// Whether the run may not end well because of it.
        fatal: bool,
    },
    /// Something is being done that takes a while.
    Progress {
        /// What.
        message: String,
    },
    /// Bytes of a model of the Hub arrived.
    Download {
        /// The file.
        file: String,
        /// Bytes that are there.
        done: u64,
        /// Bytes that it has.
        total: u64,
        /// How fast they come.
        bytes_per_second: f64,
    },
    /// A model was read and is ready.
    ModelOpened(ModelOpened),
    /// A model cannot be judged at all.
    ModelFailed {
        /// Its name.
        model: String,
        /// Why.
        message: String,
    },
    /// A reference is ready.
    ReferenceOpened {
        /// Whose.
        model: String,
        /// Its id.
        reference: String,
        /// What its word is worth.
        tier: Tier,
        /// Where its answers come from.
        provenance: BTreeMap<String, String>,
    },
    /// A reference was asked for and is not to be had.
    ReferenceUnavailable {
        /// Whose.
        model: String,
        /// Its id, or the tier's name if there is none of that tier.
        reference: String,
        /// Why.
        reason: String,
    },
    /// Something that a reader of the verdicts should know.
    Note {
        /// The model that it is about.
        model: String,
        /// What.
        message: String,
    },
    /// All checks of a model are known.
    Planned {
        /// Whose.
        model: String,
        /// Which.
        checks: Vec<CheckId>,
    },
    /// A check begins.
    CheckStarted {
        /// Its name.
        check: CheckId,
    },
    /// A check ended.
    CheckFinished(Box<BenchmarkResult>),
    /// What explains the first component that differs was looked for.
    Diagnosed(Box<Diagnosis>),
    /// A mistake was looked for with which the right model shows what another subject shows.
    Likened(Box<Likeness>),
    /// A mistake was put into the model, and judged.
    FaultJudged(Box<FaultJudged>),
    /// All mistakes were.
    SensitivityScored(Score),
    /// The run ends.
    RunFinished {
        /// How long it took.
        seconds: f64,
    },
}

/// What is known of a model once it is ready.
#[derive(Clone, Debug, Serialize)]
pub struct ModelOpened {
    /// Its name.
    pub model: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The model of the Hub that the folder is a copy of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubCopy>,
    /// The adapter's id.
    pub architecture: String,
    /// Who is on trial.
    pub subject: String,
    /// Where its answers come from, if it is not the bridge.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub provenance: BTreeMap<String, String>,
    /// The precision on trial.
    pub dtype: DType,
    /// Digest of `config.json`.
    pub config_digest: String,
    /// Digest of the weights.
    pub weights_digest: String,
    /// Config keys that the adapter did not read and that are not known to be harmless.
    pub keys_not_read: Vec<String>,
    /// Checkpoint tensors that the spec does not take.
    pub tensors_not_taken: Vec<String>,
}

/// A check's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct CheckId {
    /// The model's name.
    pub model: String,
    /// Raw or compat.
    pub mode: Mode,
    /// The benchmark's group.
    pub module: String,
    /// The benchmark.
    pub benchmark: String,
    /// The reference's id.
    pub reference: String,
    /// The input.
    pub variant: String,
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            model,
            mode,
            module,
            benchmark,
            reference,
            variant,
        } = self;
        write!(
            f,
            "{model}/{}/{module}/{benchmark}/{reference}/{variant}",
            mode.name()
        )
    }
}

/// How a check ended.
#[derive(Clone, Debug, Serialize)]
pub struct BenchmarkResult {
    /// Its name.
    pub check: CheckId,
    /// What the comparison is worth.
    pub tier: Tier,
    /// How it ended.
    pub severity: Severity,
    /// Whether it passed.
    pub passed: bool,
    /// One line.
    pub message: String,
    /// The first hook that is wrong.
    pub first_divergence: Option<Divergence>,
    /// More for a person.
    pub details: Vec<Detail>,
    /// Every comparison.
    pub measurements: Vec<Measurement>,
    /// How long it took, without what other checks had asked already.
    pub seconds: f64,
}

impl BenchmarkResult {
    /// A check that ended in `verdict`.
    pub fn new(check: CheckId, tier: Tier, verdict: Verdict, seconds: f64) -> Self {
        Self {
            check,
            tier,
            severity: verdict.severity,
            passed: verdict.severity.passed(),
            message: verdict.message,
            first_divergence: verdict.first_divergence,
            details: verdict.details,
            measurements: verdict.measurements,
            seconds,
        }
    }
}

/// Takes events as they happen.
pub trait EventSink: Sync {
    /// Takes one.
    fn emit(&self, event: Event);
}

/// Keeps all events.
#[derive(Default)]
pub struct EventLog(std::sync::Mutex<Vec<Event>>);

impl EventLog {
    /// What happened so far, in order.
    pub fn events(&self) -> Vec<Event> {
        self.0
            .lock()
            .map(|events| events.clone())
            .unwrap_or_default()
    }
}

impl EventSink for EventLog {
    fn emit(&self, event: Event) {
        if let Ok(mut events) = self.0.lock() {
            events.push(event);
        }
    }
}
