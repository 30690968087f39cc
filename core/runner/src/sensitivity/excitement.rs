//! Whether a mistake moves anything on given inputs: computed in f64, never declared.

use tlbench_sdk::compare::{Axes, Region, STORAGE_ROUNDING, compare};
use tlbench_sdk::{ATTENTION_MASK, HookPoint, Quantity, Trace, TraceRequest, TraceSource};

use super::aspects::Aspects;
use super::probes::Probes;
use super::{FaultOutcome, Movement};

/// A right model and a faulty one, both in f64.
pub(crate) struct Excitement<'a> {
    pub(crate) right: &'a dyn TraceSource,
    pub(crate) faulty: &'a dyn TraceSource,
    pub(crate) hooks: &'a [HookPoint],
}

/// What a mistake moves in one answer.
enum Moved {
    /// These, by how many halves of a unit in the last place of f32.
    Quantities(Vec<(Quantity, f64)>),
    /// All of it: there is no answer any more.
    Answer,
}

impl Excitement<'_> {
    /// What becomes of a mistake that no check has seen: by what the suite has `asked`, and by `probes`, on the model's
    /// own inputs and on `random` others.
    pub(crate) fn unseen(
        &self,
        asked: &[TraceRequest],
        probes: &Probes,
        random: usize,
    ) -> FaultOutcome {
        let moved = asked.iter().filter_map(|question| self.moved(question));
        if let Some(moved) = most(moved.map(Moved::largest)) {
            return FaultOutcome::Missed { moved };
        }
        let own = probes.own().iter().cloned();
        for question in own.chain(probes.random(random)) {
            let Some(moved) = self.moved(&question) else {
                continue;
            };
            let run = Aspects::of(&question);
            let is_asked = moved.is_asked(asked, &run);
            let moved = moved.largest();
            return match is_asked {
                true => FaultOutcome::NotExercised {
                    elsewhere: Some(moved),
                },
                false => FaultOutcome::NotAsked { run, moved },
            };
        }
        match probes.settle_with(random) {
            true => FaultOutcome::MovesNothing,
            false => FaultOutcome::NotExercised { elsewhere: None },
        }
    }

    /// What moves when `question` is asked. One that the right model cannot answer shows nothing.
    fn moved(&self, question: &TraceRequest) -> Option<Moved> {
        let right = self.right.trace(question).ok()?;
        let Ok(faulty) = self.faulty.trace(question) else {
            return Some(Moved::Answer);
        };
        let region = question.inputs.get(ATTENTION_MASK).and_then(Region::new)?;
        let ratios = right.values.keys().filter_map(|quantity| {
            let ratio = self.ratio(quantity, [&right, &faulty], &region)?;
            (ratio > 1.0).then(|| (quantity.clone(), ratio))
        });
        let ratios: Vec<(Quantity, f64)> = ratios.collect();
        (!ratios.is_empty()).then_some(Moved::Quantities(ratios))
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

impl Moved {
    /// Whether some question of `asked` shows one of these in a `run` of that kind.
    fn is_asked(&self, asked: &[TraceRequest], run: &Aspects) -> bool {
        let mut alike = asked.iter().filter(|other| Aspects::of(other).contain(run));
        match self {
            Self::Answer => alike.next().is_some(),
            Self::Quantities(moved) => alike.any(|other| {
                let mut quantities = moved.iter();
                quantities.any(|(quantity, _)| other.capture.contains(quantity))
            }),
        }
    }

    /// What moves most.
    fn largest(self) -> Movement {
        let largest = match self {
            Self::Answer => None,
            Self::Quantities(moved) => moved.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)),
        };
        match largest {
            Some((quantity, ratio)) => Movement {
                quantity: quantity.to_string(),
                ratio,
            },
            None => Movement {
                quantity: "an answer".to_owned(),
                ratio: f64::INFINITY,
            },
        }
    }
}

fn most(movements: impl Iterator<Item = Movement>) -> Option<Movement> {
    movements.max_by(|a, b| a.ratio.total_cmp(&b.ratio))
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::{INPUT_IDS, PluginError, SourceInfo, Tensor, TensorMap};

    use super::*;

    /// Gives `logit` as each logit of an input of up to `longest` tokens, and `slope` as a gradient.
    #[derive(Clone, Copy)]
    struct Shows {
        logit: f64,
        slope: f64,
        longest: usize,
    }

    const RIGHT: Shows = Shows {
        logit: 1.0,
        slope: 1.0,
        longest: 2,
    };

    impl TraceSource for Shows {
        fn info(&self) -> SourceInfo {
            SourceInfo::default()
        }

        fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
            let [_, pos] = request.shape();
            if pos > self.longest {
                return Err(PluginError::unsupported("too long"));
            }
            let value = |quantity: &Quantity| {
                let value = match quantity {
                    Quantity::ParameterGradient(_) => self.slope,
                    _ => self.logit,
                };
                let value = Tensor::from_vec(vec![value; pos], &[1, pos, 1])?;
                Ok((quantity.clone(), value))
            };
            let values = request.capture.iter().map(value);
            Ok(Trace {
                values: values.collect::<Result<_, PluginError>>()?,
                ..Trace::default()
            })
        }
    }

    fn plain(len: usize) -> TraceRequest {
        let ones = Tensor::from_vec(vec![1_i64; len], &[1, len]).unwrap();
        let names = [INPUT_IDS, ATTENTION_MASK].map(str::to_owned);
        let inputs: TensorMap = names.map(|name| (name, ones.clone())).into();
        TraceRequest::new(inputs, vec![Quantity::Logits])
    }

    fn differentiated() -> TraceRequest {
        let objective = tlbench_sdk::Objective::Loss;
        TraceRequest {
            gradients: Some(tlbench_sdk::GradientRequest { objective }),
            capture: vec![Quantity::ParameterGradient("wte".into())],
            ..plain(2)
        }
    }

    /// What becomes of `faulty` where no check has seen it, with `random` inputs besides the model's own.
    fn unseen(faulty: &Shows, asked: &[TraceRequest], random: usize) -> FaultOutcome {
        let excitement = Excitement {
            right: &RIGHT,
            faulty,
            hooks: &[],
        };
        let probes = Probes::of(vec![plain(2), differentiated()], 9);
        excitement.unseen(asked, &probes, random)
    }

    /// By how much a missed one moves what was asked about inputs of these lengths; `None`: it moves nothing.
    fn ratio(faulty: &Shows, lengths: &[usize]) -> Option<f64> {
        let asked: Vec<TraceRequest> = lengths.iter().map(|&len| plain(len)).collect();
        match unseen(faulty, &asked, 2) {
            FaultOutcome::Missed { moved } => Some(moved.ratio),
            _ => None,
        }
    }

    #[test]
    fn what_moves_is_told_in_halves_of_a_unit_in_the_last_place() {
        let moved = |logit, lengths: &[usize]| ratio(&Shows { logit, ..RIGHT }, lengths);
        assert_eq!(moved(1.0, &[1, 2]), None);
        let by_a_thousandth = moved(1.001, &[2]).unwrap() * STORAGE_ROUNDING;
        assert!((by_a_thousandth - 1e-3).abs() < 1e-9, "{by_a_thousandth}");
        assert_eq!(moved(f64::NAN, &[2]), Some(f64::INFINITY));
    }

    #[test]
    fn what_only_the_faulty_model_cannot_answer_was_moved_and_what_neither_can_shows_nothing() {
        let silent = Shows {
            longest: 1,
            ..RIGHT
        };
        assert_eq!(ratio(&silent, &[1, 2]), Some(f64::INFINITY));
        assert_eq!(ratio(&silent, &[1, 3]), None);
    }

    #[test]
    fn what_moves_where_nobody_looks_was_not_asked_about() {
        let steep = Shows {
            slope: 2.0,
            ..RIGHT
        };
        let outcome = |asked: &[TraceRequest]| unseen(&steep, asked, 0);
        let FaultOutcome::NotAsked { run, moved } = outcome(&[plain(2)]) else {
            panic!("nobody asks about gradients");
        };
        assert_eq!(run.to_string(), "a differentiated run");
        assert_eq!(moved.quantity, "param_grad:wte");
        // Looked at, on another input.
        let elsewhere = TraceRequest {
            inputs: plain(3).inputs,
            ..differentiated()
        };
        assert!(matches!(
            outcome(&[elsewhere]),
            FaultOutcome::NotExercised { elsewhere: Some(_) }
        ));
        // Differentiated, and looked at elsewhere.
        let other = TraceRequest {
            capture: vec![Quantity::Logits],
            ..differentiated()
        };
        assert!(matches!(outcome(&[other]), FaultOutcome::NotAsked { .. }));
    }

    #[test]
    fn nothing_moves_only_where_random_inputs_of_every_kind_were_tried() {
        let outcome = |random| unseen(&RIGHT, &[plain(2)], random);
        for random in [0, 1] {
            assert!(matches!(
                outcome(random),
                FaultOutcome::NotExercised { elsewhere: None }
            ));
        }
        assert!(matches!(outcome(2), FaultOutcome::MovesNothing));
    }
}
