//! Whether a mistake moves anything on given inputs: computed in f64, never declared.

use tlbench_sdk::compare::{Axes, Region, STORAGE_ROUNDING, compare};
use tlbench_sdk::{
    ATTENTION_MASK, HookPoint, INPUT_IDS, ModelSpec, Quantity, Tensor, Trace, TraceRequest,
    TraceSource, uniform,
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
    /// What moves most when the `questions` are asked. One that the right model cannot answer shows nothing.
    pub(crate) fn on(&self, questions: &[TraceRequest]) -> Option<Movement> {
        most(
            questions
                .iter()
                .filter_map(|question| self.movement(question)),
        )
    }

    /// The same with `count` inputs of random tokens, each in the place of those of one question, or of one in two pieces
    /// through a cache, whether or not the suite asks that of this model.
    pub(crate) fn on_random(&self, questions: &[TraceRequest], count: usize) -> Option<Movement> {
        let in_pieces = questions.iter().filter_map(in_two_pieces);
        let questions: Vec<TraceRequest> = questions.iter().cloned().chain(in_pieces).collect();
        let mut numbered = (0..count as u64).zip(questions.iter().cycle());
        numbered
            .find_map(|(seed, question)| self.movement(&self.with_random_tokens(question, seed)))
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

    fn movement(&self, question: &TraceRequest) -> Option<Movement> {
        let right = self.right.trace(question).ok()?;
        // What cannot be answered any more was moved.
        let Ok(faulty) = self.faulty.trace(question) else {
            return Some(Movement {
                quantity: "an answer".to_owned(),
                ratio: f64::INFINITY,
            });
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
        most(ratios)
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

fn most(movements: impl Iterator<Item = Movement>) -> Option<Movement> {
    movements.max_by(|a, b| a.ratio.total_cmp(&b.ratio))
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

#[cfg(test)]
mod tests {
    use tlbench_sdk::{PluginError, SourceInfo};

    use super::*;

    /// Gives the logits of an input, or an error where it is longer than `longest`.
    struct Shows {
        logit: f64,
        longest: usize,
    }

    impl TraceSource for Shows {
        fn info(&self) -> SourceInfo {
            SourceInfo::default()
        }

        fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
            let [_, pos] = request.shape();
            if pos > self.longest {
                return Err(PluginError::unsupported("too long"));
            }
            let logits = Tensor::from_vec(vec![self.logit; pos], &[1, pos, 1])?;
            Ok(Trace {
                values: [(Quantity::Logits, logits)].into(),
                ..Trace::default()
            })
        }
    }

    /// The largest ratio of `faulty` beside a model that answers up to two tokens with 1.
    fn ratio(faulty: &Shows, lengths: &[usize]) -> Option<f64> {
        let right = Shows {
            logit: 1.0,
            longest: 2,
        };
        let spec = serde_json::json!({
            "architecture": "Bigram", "d_model": 1, "d_vocab": 1, "n_ctx": null,
            "embedding": {"tokens": {"names": ["wte"], "shape": [1, 1]}, "module": null},
            "layers": [], "final_norm": null,
            "unembed": {
                "projection": {"weight": {"names": ["wte"], "shape": [1, 1]}, "bias": null, "tap": null},
                "d_vocab_out": 1,
            },
        });
        let questions: Vec<TraceRequest> = lengths
            .iter()
            .map(|&len| {
                let ones = Tensor::from_vec(vec![1_i64; len], &[1, len]).unwrap();
                let names = [INPUT_IDS, ATTENTION_MASK].map(str::to_owned);
                let inputs = names.map(|name| (name, ones.clone()));
                TraceRequest::new(inputs.into(), vec![Quantity::Logits])
            })
            .collect();
        let excitement = Excitement {
            right: &right,
            faulty,
            spec: &serde_json::from_value(spec).unwrap(),
            hooks: &[],
        };
        excitement.on(&questions).map(|moved| moved.ratio)
    }

    #[test]
    fn what_moves_is_told_in_halves_of_a_unit_in_the_last_place() {
        let moved = |logit, lengths: &[usize]| ratio(&Shows { logit, longest: 2 }, lengths);
        assert_eq!(moved(1.0, &[1, 2]), None);
        let by_a_thousandth = moved(1.001, &[2]).unwrap() * STORAGE_ROUNDING;
        assert!((by_a_thousandth - 1e-3).abs() < 1e-9, "{by_a_thousandth}");
        assert_eq!(moved(f64::NAN, &[2]), Some(f64::INFINITY));
    }

    #[test]
    fn what_only_the_faulty_model_cannot_answer_was_moved_and_what_neither_can_shows_nothing() {
        let silent = Shows {
            logit: 1.0,
            longest: 1,
        };
        assert_eq!(ratio(&silent, &[1, 2]), Some(f64::INFINITY));
        assert_eq!(ratio(&silent, &[1, 3]), None);
    }
}
