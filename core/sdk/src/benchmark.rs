//! One named check.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::PluginError;
use crate::hooks::HookPoint;
use crate::id::{IdError, check_id};
use crate::options::{OptionInfo, Options};
use crate::processing::Processing;
use crate::reference::{Firings, Stimulus, Tier};
use crate::result::Verdict;
use crate::spec::ModelSpec;
use crate::tensor::{DType, TensorMap};
use crate::trace::{Quantity, Trace, TraceRequest};
use crate::usage::Usage;

/// Plans requests, and judges the answers. It never runs a model itself, and holds no state.
pub trait Benchmark: Send + Sync {
    /// What it is; no work is done for it.
    fn info(&self) -> BenchmarkInfo;

    /// The checks that apply to `model`, before any of them runs: at least one, each with a variant of its own
    /// ([`check_plan`]).
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where it does not apply to this model or reference.
    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError>;

    /// Judges the answers to the requests made so far for `check`, in the order of the requests.
    ///
    /// # Errors
    /// If it cannot come to a judgement; the check is an ERROR then.
    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError>;
}

/// What a [`Benchmark`] is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkInfo {
    /// Its name in configs and check ids (`logits_equivalence`).
    pub id: String,
    /// The group that it belongs to (`forward_pass`).
    pub module: String,
    /// One line: what a pass proves.
    pub description: String,
    /// For `tlbench explain`: what it proves, how, what it does not see, and where its numbers come from.
    #[serde(default)]
    pub explanation: String,
    /// The settings that it takes.
    #[serde(default)]
    pub options: Vec<OptionInfo>,
    /// The only mode in which it is planned; `None`: both.
    #[serde(default)]
    pub only_in: Option<Mode>,
}

/// The model on trial, and what it is judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its name in check ids.
    pub name: String,
    /// Who is on trial (`bridge`).
    pub subject: String,
    /// Weights as they are, or processed.
    pub mode: Mode,
    /// What is done to the weights in this mode. Every request to either side says so
    /// ([`TraceRequest::processing`]).
    pub processing: Processing,
    /// The precision on trial.
    pub dtype: DType,
    /// The architecture.
    pub spec: ModelSpec,
    /// Its hook points, in execution order.
    pub hooks: Vec<HookPoint>,
    /// What has a gradient: the checkpoint tensors that the spec takes, or the canonical weights in compatibility mode.
    pub parameters: Vec<Parameter>,
    /// The reference's name.
    pub reference: String,
    /// What the reference's word is worth.
    pub tier: Tier,
    /// The inputs, each with what the reference can show on it.
    pub stimuli: Vec<Stimulus>,
    /// What fires while a party runs, of those that tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub firings: BTreeMap<Role, Firings>,
    /// What of config and checkpoint was used, and what not.
    #[serde(default)]
    pub usage: Usage,
    /// What decides.
    pub judging: Judging,
    /// Settings of this benchmark from the config.
    pub options: serde_json::Map<String, serde_json::Value>,
}

impl BenchmarkInfo {
    /// A benchmark without settings, of which no more is to be said.
    pub fn new(id: &str, module: &str, description: &str) -> Self {
        Self {
            id: id.to_owned(),
            module: module.to_owned(),
            description: description.to_owned(),
            explanation: String::new(),
            options: Vec::new(),
            only_in: None,
        }
    }

    /// The same in one mode alone.
    #[must_use]
    pub fn only_in(mut self, mode: Mode) -> Self {
        self.only_in = Some(mode);
        self
    }

    /// The same with an explanation.
    #[must_use]
    pub fn explained(mut self, explanation: &str) -> Self {
        explanation.clone_into(&mut self.explanation);
        self
    }

    /// The same with settings.
    #[must_use]
    pub fn taking(mut self, options: Vec<OptionInfo>) -> Self {
        self.options = options;
        self
    }
}

/// How the bridge is called where subjects are named.
pub const BRIDGE: &str = "bridge";

impl ModelInfo {
    /// Whether the bridge is on trial, which shows its weights as well.
    pub fn is_bridge(&self) -> bool {
        self.subject == BRIDGE
    }

    /// The settings of a benchmark that takes `known`.
    ///
    /// # Errors
    /// If the config gives one that it does not take.
    pub fn options(&self, known: &[OptionInfo]) -> Result<Options, PluginError> {
        Options::read(known, &self.options)
    }

    /// A question about this model in its mode.
    pub fn request(&self, inputs: TensorMap, capture: Vec<Quantity>) -> TraceRequest {
        TraceRequest::new(inputs, capture).processed(self.processing.clone())
    }
}

/// Something that has a gradient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The checkpoint tensor, or the canonical weight.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// How many numbers it holds.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Elements of a checkpoint of 64 MB in f32.
const LARGE: usize = 16 << 20;

/// Whether a model with these parameters is larger than 64 MB in f32. Of such a one a sample is looked at where the work
/// would grow with its depth or width.
pub fn is_large(parameters: &[Parameter]) -> bool {
    let sizes = parameters.iter().map(Parameter::elements);
    sizes.fold(0, usize::saturating_add) > LARGE
}

/// Weights as they are, or processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// HF's weights and order of operations.
    Raw,
    /// Norms folded, weights centred, as HookedTransformer does by default.
    Compat,
}

impl Mode {
    /// As in check ids.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Compat => "compat",
        }
    }
}

/// What decides between passing and failing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judging {
    /// The error ratio.
    #[default]
    Calibrated,
    /// Fixed absolute and relative tolerances.
    Tolerance,
}

/// One check of a benchmark on a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What tells it from the benchmark's other checks (an input's id).
    pub variant: String,
    /// The questions asked so far.
    pub requests: Vec<PlannedRequest>,
}

/// A plan that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A benchmark that does not apply says so by `unsupported`, so that nobody takes its silence for a pass.
    #[error("plans no check; a benchmark that does not apply says so by `unsupported`")]
    Empty,
    /// A variant that is no id.
    #[error("plans a check of the variant {0}")]
    Variant(IdError),
    /// Two checks of one name.
    #[error("plans two checks of the variant `{variant}`")]
    Twice {
        /// Their variant.
        variant: String,
    },
}

/// Whether `checks` can be what a benchmark plans: there is one, and each has a variant of its own that is an id.
///
/// # Errors
/// Names the first that breaks a rule.
pub fn check_plan(checks: &[Check]) -> Result<(), PlanError> {
    if checks.is_empty() {
        return Err(PlanError::Empty);
    }
    let mut variants = BTreeSet::new();
    for Check { variant, .. } in checks {
        check_id(variant).map_err(PlanError::Variant)?;
        if !variants.insert(variant) {
            return Err(PlanError::Twice {
                variant: variant.clone(),
            });
        }
    }
    Ok(())
}

/// A question, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedRequest {
    /// Who answers.
    pub role: Role,
    /// The question.
    pub request: TraceRequest,
    /// Equal questions to the same model are answered once, unless they differ in this: the model computes anew.
    #[serde(default, skip_serializing_if = "is_first")]
    pub repetition: u32,
}

impl PlannedRequest {
    /// A question to the model on trial.
    pub fn subject(request: TraceRequest) -> Self {
        Self::new(Role::Subject, request)
    }

    /// A question to the model on trial, computed in f64.
    pub fn exact_subject(request: TraceRequest) -> Self {
        Self::new(Role::ExactSubject, request)
    }

    /// A question to the reference.
    pub fn reference(request: TraceRequest) -> Self {
        Self::new(Role::Reference, request)
    }

    /// The same question once more: whoever answers computes anew. Asked for in a judgement, that is after all that was
    /// asked before it; in a plan, whenever somebody else wants the same.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.repetition += 1;
        self
    }

    fn new(role: Role, request: TraceRequest) -> Self {
        Self {
            role,
            request,
            repetition: 0,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_first(repetition: &u32) -> bool {
    *repetition == 0
}

/// Who answers a request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The model on trial.
    Subject,
    /// The model on trial in f64, whatever precision is on trial: what differentiates numerically needs it.
    ExactSubject,
    /// What it is judged by.
    #[default]
    Reference,
}

/// What a benchmark makes of the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// It is decided.
    Verdict(Verdict),
    /// Something has to be asked that depends on what was answered. The answers are appended to those before.
    More(Vec<PlannedRequest>),
}
