//! One question to a model, and its answer.
//!
//! Requests are data: they can be listed before anything runs, merged, memoised, sent to another process and recorded.
//! Tensors travel beside the text, by name.

mod answer;
mod generate;
mod intervention;
mod objective;
mod quantity;

pub use answer::TraceError;
pub use generate::{GenerateRequest, Sampling};
pub use intervention::{Action, Intervention, Target};
pub use objective::{GradientRequest, Objective, projection_weights};
pub use quantity::{Quantity, QuantityError};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::Floor;
use crate::processing::Processing;
use crate::tensor::{Tensor, TensorMap};

/// What a model is asked to compute and to show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// `input_ids`, `attention_mask`, `position_ids`, all `[batch, pos]` of I64.
    #[serde(skip)]
    pub inputs: TensorMap,
    /// What is done to the weights before anything runs; nothing: they stay as they are stored.
    #[serde(default, skip_serializing_if = "Processing::is_raw")]
    pub processing: Processing,
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
    /// The tensors that interventions name.
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

/// Whether some row of `inputs` has padding in it.
pub fn is_padded(inputs: &TensorMap) -> bool {
    let mask = inputs.get(ATTENTION_MASK);
    let mask = mask.and_then(Tensor::as_slice::<i64>);
    mask.is_some_and(|mask| mask.contains(&0))
}

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

    /// The same with the weights processed first.
    #[must_use]
    pub fn processed(mut self, processing: Processing) -> Self {
        self.processing = processing;
        self
    }

    /// Whether it asks for nothing but what the model shows when it runs on the inputs once, whatever its weights.
    pub fn is_plain(&self) -> bool {
        let Self {
            inputs: _,
            processing: _,
            chunks,
            capture: _,
            evaluation,
            truth: _,
            gradients,
            interventions,
            operands: _,
            generate,
        } = self;
        chunks.is_empty()
            && *evaluation == Evaluation::Cumulative
            && gradients.is_none()
            && interventions.is_empty()
            && generate.is_none()
    }

    /// `[batch, pos]`; zeros where there are no token ids of that rank.
    pub fn shape(&self) -> [usize; 2] {
        match self.inputs.get(INPUT_IDS).map(Tensor::shape) {
            Some(&[batch, pos]) => [batch, pos],
            _ => [0, 0],
        }
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
