//! One question to a model, and its answer.
//!
//! Requests are data: they can be listed before anything runs, merged, memoised, sent to another process and recorded.
//! Tensors travel beside the text, by name.

mod answer;
mod quantity;

pub use answer::TraceError;
pub use quantity::{Quantity, QuantityError};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::Floor;
use crate::tensor::{Tensor, TensorMap};

/// What a model is asked to compute and to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// `input_ids`, `attention_mask`, `position_ids`, all `[batch, pos]` of I64.
    #[serde(skip)]
    pub inputs: TensorMap,
    /// Lengths of the pieces that are fed one after the other through a fresh KV cache; empty: all at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<usize>,
    /// What to show.
    pub capture: Vec<Quantity>,
    /// Whether each component sees the model's own values or the truth.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// For [`Evaluation::Local`]: the truth at each hook that is to be overwritten.
    #[serde(skip)]
    pub truth: TensorMap,
    /// Gradients, if any are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradients: Option<GradientRequest>,
    /// Edits made while the model runs, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interventions: Vec<Intervention>,
    /// The tensors that interventions and objectives name.
    #[serde(skip)]
    pub operands: TensorMap,
    /// Tokens to append, if any are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<GenerateRequest>,
}

/// The name of the token ids among [`TraceRequest::inputs`].
pub const INPUT_IDS: &str = "input_ids";
/// The name of the attention mask: 1 where there is a token, 0 where there is padding.
pub const ATTENTION_MASK: &str = "attention_mask";
/// The name of the positions.
pub const POSITION_IDS: &str = "position_ids";

impl TraceRequest {
    /// Asks for `capture` on `inputs`.
    pub fn new(inputs: TensorMap, capture: Vec<Quantity>) -> Self {
        Self {
            inputs,
            capture,
            ..Self::default()
        }
    }

    /// Asks for the same with every captured hook overwritten by the truth once it was seen.
    #[must_use]
    pub fn local(mut self, truth: TensorMap) -> Self {
        self.evaluation = Evaluation::Local;
        self.truth = truth;
        self
    }

    /// All tensors, under names that say what they are for.
    pub fn tensors(&self) -> TensorMap {
        let named = |prefix: &'static str, map: &TensorMap| {
            map.iter()
                .map(move |(name, tensor)| (format!("{prefix}/{name}"), tensor.clone()))
                .collect::<Vec<_>>()
        };
        [
            named("inputs", &self.inputs),
            named("truth", &self.truth),
            named("operands", &self.operands),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Puts tensors back where [`TraceRequest::tensors`] took them from; others are ignored.
    pub fn set_tensors(&mut self, tensors: TensorMap) {
        for (name, tensor) in tensors {
            match name.split_once('/') {
                Some(("inputs", name)) => self.inputs.insert(name.to_owned(), tensor),
                Some(("truth", name)) => self.truth.insert(name.to_owned(), tensor),
                Some(("operands", name)) => self.operands.insert(name.to_owned(), tensor),
                _ => None,
            };
        }
    }
}

/// Whether each component sees the model's own values or the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evaluation {
    /// Errors add up along the way.
    #[default]
    Cumulative,
    /// Every hook in [`TraceRequest::truth`] is shown and then overwritten, so that each component runs on the truth.
    Local,
}

/// Which gradients of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradientRequest {
    /// The scalar that is differentiated.
    pub objective: Objective,
}

/// A scalar function of the logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// The mean next-token loss over all tokens that are not padding.
    Loss,
    /// The sum of the logits times the operand `weights`, of the logits' shape.
    Projection {
        /// The operand's name.
        weights: String,
    },
    /// The difference of two logits at one position of every row.
    LogitDifference {
        /// The position.
        position: usize,
        /// The token that counts positively.
        token: usize,
        /// The token that counts negatively.
        minus: usize,
    },
}

/// An edit made while the model runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervention {
    /// What is edited.
    pub target: Target,
    /// The rows of the batch that are; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<usize>>,
    /// The query positions that are; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Vec<usize>>,
    /// How.
    pub action: Action,
}

/// What an intervention edits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// The value at a hook.
    Hook(String),
    /// A checkpoint tensor.
    Weight(String),
}

/// How an intervention edits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Sets to 0.
    Zero,
    /// Multiplies.
    Scale {
        /// By this.
        factor: f64,
    },
    /// Adds an operand, broadcast from the right.
    Add {
        /// Its name.
        operand: String,
    },
    /// Puts an operand of the same shape in its place.
    Replace {
        /// Its name.
        operand: String,
    },
}

/// Tokens to append.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// At most this many.
    pub max_new_tokens: usize,
    /// Tokens that end a row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_tokens: Vec<usize>,
    /// Whether keys and values are kept from step to step.
    pub use_cache: bool,
    /// How the next token is chosen.
    pub sampling: Sampling,
}

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampling {
    /// The largest logit.
    Greedy,
    /// In proportion to `exp(logit / temperature)`.
    Temperature {
        /// The temperature.
        temperature: f64,
        /// Of the random numbers.
        seed: u64,
    },
}

/// The answer to a [`TraceRequest`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// What was asked for.
    pub values: BTreeMap<Quantity, Tensor>,
    /// How large the source's own rounding error is in each, where it knows.
    pub floors: BTreeMap<Quantity, Floor>,
}

impl Trace {
    /// The value of `quantity`.
    pub fn value(&self, quantity: &Quantity) -> Option<&Tensor> {
        self.values.get(quantity)
    }

    /// The floor of `quantity`.
    pub fn floor(&self, quantity: &Quantity) -> Option<Floor> {
        self.floors.get(quantity).copied()
    }
}
