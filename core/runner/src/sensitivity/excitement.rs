//! Whether a mistake moves anything on given inputs: computed in f64, never declared.

use tlbench_sdk::compare::{Axes, Region, STORAGE_ROUNDING, compare};
use tlbench_sdk::{
    ATTENTION_MASK, HookPoint, INPUT_IDS, ModelSpec, PluginError, Quantity, Tensor, Trace,
    TraceRequest, TraceSource, uniform,
};

use super::Movement;

/// A right model and a faulty one, both in f64.
pub(crate) struct Excitement<'a> {
    pub(crate) right: &'a dyn TraceSource,
    pub(crate) faulty: &'a dyn TraceSource,
    pub(crate) spec: &'a ModelSpec,
    pub(crate) hooks: &'a [HookPoint],
}

impl Excitement<'_> {
    /// What moves most when the `questions` are asked.
    ///
    /// # Errors
    /// If one of the two cannot answer.
    pub(crate) fn on(&self, questions: &[TraceRequest]) -> Result<Option<Movement>, PluginError> {
        let mut most: Option<Movement> = None;
        for question in questions {
            let moved = self.movement(question)?;
            most = most
                .into_iter()
                .chain(moved)
                .max_by(|a, b| a.ratio.total_cmp(&b.ratio));
        }
        Ok(most)
    }

    /// The same with `count` inputs of random tokens, each in the place of those of one question, or of one in two pieces
    /// through a cache, whether or not the suite asks that of this model.
    ///
    /// # Errors
    /// If one of the two cannot answer.
    pub(crate) fn on_random(
        &self,
        questions: &[TraceRequest],
        count: usize,
    ) -> Result<Option<Movement>, PluginError> {
        let in_pieces = questions.iter().filter_map(in_two_pieces);
        let questions: Vec<TraceRequest> = questions.iter().cloned().chain(in_pieces).collect();
        let numbered = (0..count as u64).zip(questions.iter().cycle());
        for (seed, question) in numbered {
            let moved = self.on(&[self.with_random_tokens(question, seed)])?;
            if moved.is_some() {
                return Ok(moved);
            }
        }
        Ok(None)
    }

    fn with_random_tokens(&self, question: &TraceRequest, seed: u64) -> TraceRequest {
        let mut question = question.clone();
        let Some(ids) = question.inputs.get(INPUT_IDS) else {
            return question;
        };
        let draws = (0..ids.len()).map(|at| uniform(seed, at));
        let tokens = draws.map(|draw| (draw * self.spec.d_vocab as f64) as i64);
        if let Ok(ids) = Tensor::from_vec(tokens.collect::<Vec<i64>>(), ids.shape()) {
            question.inputs.insert(INPUT_IDS.to_owned(), ids);
        }
        question
    }

    fn movement(&self, question: &TraceRequest) -> Result<Option<Movement>, PluginError> {
        let right = self.right.trace(question)?;
        // What cannot be answered any more was moved.
        let Ok(faulty) = self.faulty.trace(question) else {
            return Ok(Some(Movement {
                quantity: "an answer".to_owned(),
                ratio: f64::INFINITY,
            }));
        };
        let region = question.inputs.get(ATTENTION_MASK).and_then(Region::new);
        let quantities = right.values.keys();
        let ratios = quantities.filter_map(|quantity| {
            let ratio = self.ratio(quantity, [&right, &faulty], region.as_ref()?)?;
            (ratio > 1.0).then(|| Movement {
                quantity: quantity.to_string(),
                ratio,
            })
        });
        Ok(ratios.max_by(|a, b| a.ratio.total_cmp(&b.ratio)))
    }

    /// How far `quantity` moves, in halves of a unit in the last place of f32; `None` where nothing of it counts.
    fn ratio(
        &self,
        quantity: &Quantity,
        [right, faulty]: [&Trace; 2],
        region: &Region,
    ) -> Option<f64> {
        let axes = Axes::of(quantity, self.hooks).unwrap_or(Axes::Whole);
        let truth = right.value(quantity)?;
        let Some(value) = faulty.value(quantity) else {
            return Some(f64::INFINITY);
        };
        if value.shape() != truth.shape() {
            return Some(f64::INFINITY);
        }
        let difference = compare(value, truth, axes, region).ok()?;
        // The loss of a single token is NaN for whoever is right.
        if difference.mismatched > compare(truth, truth, axes, region).ok()?.mismatched {
            return Some(f64::INFINITY);
        }
        // What is 0 by symmetry is noise of f64 on both sides.
        let floor = STORAGE_ROUNDING * difference.truth_rms.max(1e-9);
        Some(difference.rms / floor)
    }
}

/// A plain question once more, through a cache.
fn in_two_pieces(question: &TraceRequest) -> Option<TraceRequest> {
    let [_, pos] = question.shape();
    (question.is_plain() && pos > 1).then(|| TraceRequest {
        chunks: vec![pos / 2, pos - pos / 2],
        capture: vec![Quantity::Logits],
        ..question.clone()
    })
}
