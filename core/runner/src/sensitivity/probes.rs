//! Questions of every kind in which a mistake may show, whatever the chosen benchmarks ask.

use std::collections::BTreeSet;

use tlbench_sdk::{
    ATTENTION_MASK, GradientRequest, INPUT_IDS, ModelInfo, Objective, Padding, Parameter,
    Processing, Quantity, Stimulus, Tensor, TensorMap, TraceRequest, uniform,
};

use super::aspects::Aspects;
use crate::unreached::{reaching, unreached};

/// What is computed of a mistake that no check has seen, before it is said to move nothing.
pub(crate) struct Probes {
    /// Of the model's own inputs. Kinds alternate, so that the first few have one of each.
    questions: Vec<TraceRequest>,
    /// Whether they reach all that the spec says.
    reach_all: bool,
    d_vocab: usize,
}

/// The longest input that is made where the model's own do not reach what the spec says.
const LONGEST: usize = 512;

impl Probes {
    /// Of the model that `info` is about, with these `parameters` of its weights as they are.
    pub(crate) fn new(info: &ModelInfo, parameters: &[Parameter]) -> Self {
        let hooks = info.hooks.iter().filter(|hook| hook.gate.is_none());
        let shown = hooks.clone().map(|hook| Quantity::hook(&hook.name));
        let shown = shown.chain([Quantity::Logits]).collect();
        let slopes = hooks.filter(|hook| !hook.holds_integers());
        let slopes = slopes.map(|hook| Quantity::HookGradient(hook.name.clone()));
        let parameters = parameters.iter().map(|one| one.name.clone());
        let slopes = slopes.chain(parameters.map(Quantity::ParameterGradient));
        let kinds = Kinds {
            shown,
            slopes: slopes.collect(),
            processing: Processing::compat(&info.spec),
        };
        let inputs = inputs(info);
        let questions = inputs.iter().flat_map(|inputs| kinds.of(inputs));
        let unreached = unreached(&info.spec, &inputs.iter().collect::<Vec<_>>());
        Self {
            reach_all: unreached.is_empty(),
            ..Self::of(questions.collect(), info.spec.d_vocab)
        }
    }

    pub(super) const fn of(questions: Vec<TraceRequest>, d_vocab: usize) -> Self {
        Self {
            questions,
            reach_all: true,
            d_vocab,
        }
    }

    /// The inputs as they are.
    pub(crate) fn own(&self) -> &[TraceRequest] {
        &self.questions
    }

    /// `count` of them with random tokens.
    pub(crate) fn random(&self, count: usize) -> impl Iterator<Item = TraceRequest> {
        let numbered = (0..count as u64).zip(self.questions.iter().cycle());
        numbered.map(|(seed, question)| self.with_random_tokens(question, seed))
    }

    /// Whether so many random ones have one of every kind, and reach all that the spec says.
    pub(crate) fn settle_with(&self, count: usize) -> bool {
        let kinds = |questions: &[TraceRequest]| -> BTreeSet<Aspects> {
            questions.iter().map(Aspects::of).collect()
        };
        let tried = &self.questions[..count.min(self.questions.len())];
        count > 0 && self.reach_all && kinds(tried) == kinds(&self.questions)
    }

    fn with_random_tokens(&self, question: &TraceRequest, seed: u64) -> TraceRequest {
        let mut question = question.clone();
        let Some(ids) = question.inputs.get(INPUT_IDS) else {
            return question;
        };
        let draws = (0..ids.len()).map(|at| uniform(seed, at));
        let tokens = draws.map(|draw| (draw * self.d_vocab as f64) as i64);
        if let Ok(ids) = Tensor::from_vec(tokens.collect::<Vec<i64>>(), ids.shape()) {
            question.inputs.insert(INPUT_IDS.to_owned(), ids);
        }
        question
    }
}

/// Those of plain questions, each shape and padding once: what differs in its tokens alone is left to chance.
fn inputs(info: &ModelInfo) -> Vec<TensorMap> {
    let mut inputs: Vec<TensorMap> = Vec::new();
    for stimulus in info.stimuli.iter().filter(|one| one.request.is_plain()) {
        let new = &stimulus.request.inputs;
        let is_alike = |known: &TensorMap| known.get(ATTENTION_MASK) == new.get(ATTENTION_MASK);
        if !inputs.iter().any(is_alike) {
            inputs.push(new.clone());
        }
    }
    inputs.extend(long_input(info));
    inputs
}

/// One that reaches all that the spec says, if the model's own do not and it is not too long.
fn long_input(info: &ModelInfo) -> Option<TensorMap> {
    let lengths = info.stimuli.iter().map(|one| one.request.shape()[1]);
    let needed = reaching(&info.spec);
    let allowed = info.spec.n_ctx.map_or(LONGEST, |n_ctx| n_ctx.min(LONGEST));
    if lengths.max()? >= needed || needed > allowed {
        return None;
    }
    let row = Stimulus::from_rows("long", &[vec![0; needed]], Padding::Right, 0).ok()?;
    Some(row.request.inputs)
}

/// What is asked of every input.
struct Kinds {
    /// Every value that shows by default.
    shown: Vec<Quantity>,
    /// Every gradient that does, and those of parameters.
    slopes: Vec<Quantity>,
    /// All steps that the model admits.
    processing: Processing,
}

impl Kinds {
    fn of(&self, inputs: &TensorMap) -> Vec<TraceRequest> {
        let plain = TraceRequest::new(inputs.clone(), self.shown.clone());
        let [_, pos] = plain.shape();
        let objective = Objective::Projection { seed: 0 };
        let differentiated = TraceRequest {
            gradients: Some(GradientRequest { objective }),
            capture: self.slopes.clone(),
            ..plain.clone()
        };
        let processed = plain.clone().processed(self.processing.clone());
        let in_two_pieces = TraceRequest {
            chunks: vec![pos / 2, pos - pos / 2],
            capture: vec![Quantity::Logits],
            ..plain.clone()
        };
        let mut questions = vec![plain, differentiated];
        questions.extend((!self.processing.is_raw()).then_some(processed));
        questions.extend((pos > 1).then_some(in_two_pieces));
        questions
    }
}
