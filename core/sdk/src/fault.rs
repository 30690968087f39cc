//! Mistakes that ports make, as data: what a suite has to notice, and what explains a difference that it has found.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::PluginError;
use crate::processing::ProcessingStep;
use crate::spec::ModelSpec;

/// Knows mistakes, and what each makes of a model. The engine runs what the edits say, so that nothing that a faulty
/// model answers is made up.
pub trait FaultZoo: Send + Sync {
    /// What it is, and all mistakes that it knows.
    fn info(&self) -> FaultZooInfo;

    /// What the mistake `fault` makes of a right model; empty if a model like this has no place for it.
    ///
    /// # Errors
    /// If it knows no mistake of that name.
    fn edits(&self, fault: &str, spec: &ModelSpec) -> Result<Vec<FaultEdit>, PluginError>;

    /// What may be wrong with one component of a model, most likely first.
    ///
    /// # Errors
    /// If it cannot tell.
    fn repairs(&self, symptom: &Symptom) -> Result<Vec<Repair>, PluginError>;
}

/// What a [`FaultZoo`] is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultZooInfo {
    /// Its name.
    pub id: String,
    /// One line.
    pub description: String,
    /// What it knows, whatever model it is.
    pub faults: Vec<Fault>,
}

/// A mistake with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its name (`rotary-pairing`).
    pub id: String,
    /// What it is about.
    pub feature: Feature,
    /// What is wrong, in words that go on from "the model has".
    pub description: String,
    /// Which input shows it ("more tokens than the window"); empty: any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shown_by: String,
    /// Where it was made: addresses of issues and changes of real ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_in: Vec<String>,
    /// What it is made for.
    #[serde(default, skip_serializing_if = "Purpose::is_suite")]
    pub purpose: Purpose,
}

/// What a mistake is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To see whether the suite notices it.
    #[default]
    Suite,
    /// To see whether a diagnosis finds a value that no repair knows; where none is made, it says nothing new.
    Diagnosis,
}

impl Purpose {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    fn is_suite(&self) -> bool {
        *self == Self::Suite
    }
}

/// What of a model a mistake is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Rotary positions.
    Rotary,
    /// Projections, scores, masks and heads.
    Attention,
    /// Norms of the stream, of queries and keys.
    Norm,
    /// Feed-forward bodies.
    Mlp,
    /// Routers and experts.
    Moe,
    /// Token embedding, learned positions, and what joins the stream.
    Embedding,
    /// From the stream to logits.
    Unembed,
    /// Keys and values of earlier positions.
    Cache,
    /// Rows of different lengths.
    Padding,
    /// What is done to weights in compatibility mode.
    Processing,
    /// The way back.
    Gradient,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rotary => "rotary",
            Self::Attention => "attention",
            Self::Norm => "norm",
            Self::Mlp => "mlp",
            Self::Moe => "moe",
            Self::Embedding => "embedding",
            Self::Unembed => "unembed",
            Self::Cache => "cache",
            Self::Padding => "padding",
            Self::Processing => "processing",
            Self::Gradient => "gradient",
        })
    }
}

/// One change of a right model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultEdit {
    /// Another spec is run.
    Spec {
        /// In these runs.
        runs: Runs,
        /// What is run.
        spec: Box<ModelSpec>,
    },
    /// The engine computes what no spec can say.
    Engine(Deviation),
    /// Something else is asked.
    Question(QuestionEdit),
    /// Processed weights have other values.
    Weights(WeightEdit),
}

/// Some of the runs of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// Every one.
    All,
    /// Those with processed weights.
    Processed,
    /// Those through a KV cache.
    Cached,
}

/// How an implementation may compute what no [`ModelSpec`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deviation {
    /// A norm divides by `rms + eps`, for `sqrt(mean square + eps)`.
    EpsOutsideRoot,
    /// Norms are computed in bf16.
    NormsInBf16,
    /// Scores are stored in f16.
    ScoresInF16,
    /// Sines and cosines are stored in bf16.
    RotaryTableInBf16,
    /// Query head `i` is served by key head `i % n_kv_heads`, for `i / (n_heads / n_kv_heads)`.
    TiledKvHeads,
    /// Within a piece that goes through a cache, queries see later keys.
    CacheUnmasked,
    /// New keys and values stand before those of the past, and not behind them.
    CachePrepends,
}

/// How a question is misunderstood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum QuestionEdit {
    /// Padding is attended to.
    PaddingAttended(Runs),
    /// Positions count from 1.
    PositionsFromOne,
    /// Positions count padding on the left.
    PaddingCounted,
    /// Each piece that goes through a cache begins at position 0.
    PositionsRestart,
    /// In every piece but the first one, positions are one too large.
    PositionsRunAhead,
    /// A run through a cache begins with what the last one has left there.
    CacheKept,
    /// No gradient flows back through these hooks.
    Detached {
        /// By name.
        hooks: Vec<String>,
    },
    /// A step of weight processing is not taken.
    StepLeftOut(ProcessingStep),
}

/// How processed weights are wrong, by canonical names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WeightEdit {
    /// Centred over one dimension where that changes what the model computes.
    Centred {
        /// Which weights.
        weights: Vec<String>,
        /// Over which dimension.
        dim: usize,
    },
    /// Changed by a step once more than the step should.
    StepTwice {
        /// Which weights.
        weights: Vec<String>,
        /// The step.
        step: ProcessingStep,
        /// Whether the step multiplies or adds.
        by: Change,
    },
}

/// How a step changes a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// By a factor per element.
    Factor,
    /// By a summand per element.
    Summand,
}

/// A component that computes something else than the reference does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symptom {
    /// What the model is taken for.
    pub spec: ModelSpec,
    /// The component that differs first (`blocks.0.attn`).
    pub component: String,
    /// The hook at which it does.
    pub hook: String,
    /// Checkpoint tensors that the spec does not take, with their shapes.
    pub tensors_not_taken: Vec<(String, Vec<usize>)>,
    /// The model's `config.json`, of which the spec may say too little.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// What may be wrong with a component, and what would be right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// The mistake that was made then, as its zoo calls it; repairs of one mistake may have the same.
    pub fault: String,
    /// Where to look: config keys, or what the adapter has to say.
    pub look_at: String,
    /// What would be right.
    pub remedy: Remedy,
}

/// What would be right in the place of what is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Remedy {
    /// Another spec.
    Spec {
        /// What was taken for what ("pairs of neighbours are rotated where halves of a head fit").
        finding: String,
        /// All of it.
        spec: Box<ModelSpec>,
    },
    /// Another value of one number, which has to be searched for.
    Number {
        /// What it is called ("eps").
        name: String,
        /// Where it stands in the spec, as JSON pointers; all get the same value.
        at: Vec<String>,
        /// Which values there are.
        values: Values,
    },
}

/// Values that a number may have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Values {
    /// Every positive number between two; what counts is by which factor it is off.
    Positive {
        /// The least.
        from: f64,
        /// The largest.
        to: f64,
    },
    /// Whole numbers, the last one included.
    Whole {
        /// The least.
        from: u64,
        /// The largest.
        to: u64,
    },
}

/// A small GPT-2 with something wrong, as it crosses the boundary.
#[cfg(test)]
pub(crate) fn seed() -> Symptom {
    let seed = include_str!("../../fuzz/seeds/boundary/symptom");
    let (_, json) = seed.split_once("\n\n").unwrap();
    serde_json::from_str(json).unwrap()
}
