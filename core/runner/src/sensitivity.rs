//! What the suite makes of mistakes: whether it is the suite that passes, or the model.

mod aspects;
mod excitement;
mod overheard;
mod probes;

use std::collections::BTreeMap;

use serde::Serialize;
use tlbench_sdk::{Divergence, Evaluation, Fault, Measurement, Quantity, Severity, Tier, float};

use crate::events::{CheckId, Event};

pub use aspects::{Aspect, Aspects};
pub(crate) use excitement::Excitement;
pub(crate) use overheard::Overheard;
pub(crate) use probes::Probes;

/// One mistake, put into the bridge, and what the suite made of it.
#[derive(Clone, Debug, Serialize)]
pub struct FaultJudged {
    /// The model.
    pub model: String,
    /// What it was judged by.
    pub reference: String,
    /// What that is worth.
    pub tier: Tier,
    /// The mistake.
    pub fault: Fault,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: FaultOutcome,
    /// What less would have made of it, if every check was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_logits: Option<LogitsAlone>,
    /// Whether it was found where it is, and named, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recognition: Option<Recognition>,
    /// How long it took.
    pub seconds: f64,
}

/// What a comparison of logits alone would have made of a mistake, over all inputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LogitsAlone {
    /// The lowest cosine with the truth.
    #[serde(with = "float")]
    pub cosine: f64,
    /// Elements outside of the fixed tolerances of TransformerLens's suite.
    pub outside_tolerance: usize,
}

impl LogitsAlone {
    /// With what a check has measured of logits whose errors add up.
    pub(crate) fn with(known: Option<Self>, measured: &[Measurement]) -> Option<Self> {
        let is_meant = |one: &&Measurement| {
            one.quantity == Quantity::Logits && one.evaluation == Evaluation::Cumulative
        };
        measured.iter().filter(is_meant).fold(known, |known, one| {
            let known = known.unwrap_or(Self {
                cosine: 1.0,
                outside_tolerance: 0,
            });
            let outside = one.closeness.as_ref().map_or(0, |close| close.outside);
            Some(Self {
                cosine: known.cosine.min(one.difference.cosine),
                outside_tolerance: known.outside_tolerance + outside,
            })
        })
    }
}

/// Whether a mistake that was caught was found where it is, and named.
#[derive(Clone, Debug, Serialize)]
pub struct Recognition {
    /// The first component, in execution order, that it changes.
    pub expected: String,
    /// The component that the first divergence names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_divergence: Option<String>,
    /// The component that the first explanation changes, or else the one that the first divergence names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The first divergence of a model that is what the mistake makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_divergence: Option<String>,
    /// Whether the first divergence alone names the right one.
    pub is_located_by_divergence: bool,
    /// Whether it is the one that is found.
    pub is_located: bool,
    /// Which of the explanations puts right what the mistake has changed, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<usize>,
    /// What the first explanation says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<String>,
}

impl Recognition {
    /// Whether what is told first is what is wrong.
    pub fn is_diagnosed(&self) -> bool {
        self.named == Some(0)
    }
}

/// How many mistakes are found where they are, and named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecognitionScore {
    /// Those that were caught and that a spec can say.
    pub asked: usize,
    /// Those whose component the first divergence names.
    pub located_by_divergence: usize,
    /// Those whose component was found.
    pub located: usize,
    /// Those that were named first.
    pub diagnosed: usize,
}

/// What the suite made of a mistake.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum FaultOutcome {
    /// A check was red.
    Caught {
        /// The first that was.
        by: Catch,
        /// How many checks of which benchmark saw it, if every check was made.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        seen_by: BTreeMap<String, usize>,
    },
    /// A model like this cannot even be opened.
    Refused {
        /// Why.
        reason: String,
    },
    /// No check was red, although the mistake moves what these inputs give in f64.
    Missed {
        /// What it moves, and by how much.
        moved: Movement,
    },
    /// It moves what no chosen benchmark looks at.
    NotAsked {
        /// In a run of this kind.
        run: Aspects,
        /// What it moves there.
        moved: Movement,
    },
    /// It moves nothing of what is looked at on these inputs.
    NotExercised {
        /// What it moves on others; `None`: too few or too short ones were tried to say that it moves nothing.
        #[serde(skip_serializing_if = "Option::is_none")]
        elsewhere: Option<Movement>,
    },
    /// It moves nothing in any kind of run, neither on these inputs nor on random ones.
    MovesNothing,
}

/// A check that was red.
#[derive(Clone, Debug, Serialize)]
pub struct Catch {
    /// Which.
    pub check: CheckId,
    /// How red.
    pub severity: Severity,
    /// In a line.
    pub message: String,
    /// The first quantity that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_divergence: Option<Divergence>,
}

/// What a mistake moves in f64.
#[derive(Clone, Debug, Serialize)]
pub struct Movement {
    /// Of all that was looked at, what moved most.
    pub quantity: String,
    /// By how many times half a unit in the last place of f32.
    #[serde(with = "float")]
    pub ratio: f64,
}

/// How many mistakes a suite notices on a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// The model.
    pub model: String,
    /// Mistakes that there is a place for in it.
    pub applicable: usize,
    /// Those that some check saw.
    pub caught: usize,
    /// Those that no check saw, although they move what the inputs give.
    pub missed: usize,
    /// Those that move what no chosen benchmark looks at.
    pub not_asked: usize,
    /// Those that move nothing on these inputs, and may on others.
    pub not_exercised: usize,
    /// Those that move nothing, whatever is asked on whichever input.
    pub not_excitable: usize,
    /// How many of those that were caught were recognised, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recognition: Option<RecognitionScore>,
    /// The share that has to be caught, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
}

impl Score {
    /// Of all mistakes of `model` among `judged`.
    pub(crate) fn of<'a>(
        model: &str,
        judged: impl IntoIterator<Item = &'a FaultJudged>,
        minimum: Option<f64>,
    ) -> Self {
        let mut score = Self {
            model: model.to_owned(),
            minimum,
            ..Self::default()
        };
        for judged in judged {
            score.applicable += 1;
            if let Some(one) = &judged.recognition {
                let all = score.recognition.get_or_insert_default();
                all.asked += 1;
                all.located_by_divergence += usize::from(one.is_located_by_divergence);
                all.located += usize::from(one.is_located);
                all.diagnosed += usize::from(one.is_diagnosed());
            }
            *match judged.outcome {
                FaultOutcome::Caught { .. } | FaultOutcome::Refused { .. } => &mut score.caught,
                FaultOutcome::Missed { .. } => &mut score.missed,
                FaultOutcome::NotAsked { .. } => &mut score.not_asked,
                FaultOutcome::NotExercised { .. } => &mut score.not_exercised,
                FaultOutcome::MovesNothing => &mut score.not_excitable,
            } += 1;
        }
        score
    }

    /// The share of mistakes that were caught, of those that something would show, whether or not it was asked: the
    /// model's sensitivity. 1 if there is none.
    pub fn share(&self) -> f64 {
        let excitable = self.applicable - self.not_excitable;
        if excitable == 0 {
            return 1.0;
        }
        self.caught as f64 / excitable as f64
    }

    /// Whether fewer were caught than should be.
    pub fn is_too_low(&self) -> bool {
        self.minimum.is_some_and(|minimum| self.share() < minimum)
    }
}

/// The mistakes among `events`.
pub(crate) fn judged(events: &[Event]) -> impl Iterator<Item = &FaultJudged> {
    events.iter().filter_map(|event| match event {
        Event::FaultJudged(judged) => Some(&**judged),
        _ => None,
    })
}
