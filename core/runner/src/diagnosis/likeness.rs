//! What another subject computes as if: mistakes are made in the right bridge, until it shows what the subject shows.

use serde::Serialize;
use tlbench_checkpoint::Weights;
use tlbench_engine::Bridge;
use tlbench_sdk::compare::Gate;
use tlbench_sdk::host::ForeignFaultZoo;
use tlbench_sdk::judge::{Comparison, Outcome};
use tlbench_sdk::{
    Evaluation, Fault, FaultEdit, ModelInfo, ModelSpec, PluginError, Runs, Severity, Trace,
    TraceRequest, TraceSource, float, is_large,
};

use super::effort::Effort;
use crate::faulty::{FaultyBridge, mistakes};
use crate::plugins::Offer;

/// The most mistakes that are made together.
const TOGETHER: usize = 10;

/// What a subject computes as if.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Likeness {
    /// The model.
    pub model: String,
    /// Who is on trial.
    pub subject: String,
    /// The inputs on which both were compared.
    pub inputs: Vec<String>,
    /// The largest error ratio between subject and right model.
    #[serde(with = "float")]
    pub ratio: f64,
    /// How many mistakes were tried, alone or with others.
    pub tried: usize,
    /// How many were not, as the model is large.
    pub left_out: usize,
    /// What the right model shows the same with; empty if nothing that is known does.
    pub shared: Vec<Shared>,
}

/// Mistakes with which the right model shows what the subject shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shared {
    /// The mistakes; more than one where it takes all of them.
    pub faults: Vec<Fault>,
    /// The largest error ratio that is left between the two.
    #[serde(with = "float")]
    pub ratio: f64,
}

/// A subject beside the right bridge.
pub(crate) struct Likened<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) weights: &'a Weights,
    pub(crate) info: &'a ModelInfo,
    /// For the floors.
    pub(crate) reference: &'a dyn TraceSource,
    pub(crate) subject: &'a dyn TraceSource,
    /// Plain questions that the subject was wrong on, with the names of their inputs.
    pub(crate) questions: Vec<(String, TraceRequest)>,
}

/// What the subject shows, and the floors of that.
struct Shown {
    request: TraceRequest,
    floors: Trace,
    subject: Trace,
}

/// Looks for what `likened` computes as if. `None` if it is as right as the bridge.
///
/// # Errors
/// If nobody answers, or a zoo does not tell.
pub(crate) fn likeness<'z>(
    likened: &Likened<'_>,
    zoos: impl IntoIterator<Item = &'z Offer<ForeignFaultZoo>>,
) -> Result<Option<Likeness>, PluginError> {
    let shown = likened.shown()?;
    let right = Bridge::open(likened.spec, likened.weights, likened.info.dtype)?;
    let ratio = likened.ratio(&right, &shown)?;
    if shown.is_empty() || is_alike(ratio) {
        return Ok(None);
    }
    let zoos: Vec<&ForeignFaultZoo> = zoos.into_iter().map(|offer| &offer.object).collect();
    let is_large = is_large(&likened.info.parameters);
    let mut search = Search {
        likened,
        right,
        shown,
        zoos,
        effort: Effort::for_a_model(is_large),
    };
    let mut shared = search.alone()?;
    if shared.is_empty() && !is_large {
        shared.extend(search.together(ratio)?);
    }
    Ok(Some(Likeness {
        model: likened.info.name.clone(),
        subject: likened.info.subject.clone(),
        inputs: likened
            .questions
            .iter()
            .map(|(input, _)| input.clone())
            .collect(),
        ratio,
        tried: search.effort.tried(),
        left_out: search.effort.left_out(),
        shared,
    }))
}

/// Rounding on both sides.
fn is_alike(ratio: f64) -> bool {
    Gate::for_rows(usize::MAX).severity(ratio) == Severity::Info
}

impl Likened<'_> {
    fn shown(&self) -> Result<Vec<Shown>, PluginError> {
        let shown = |(_, request): &(String, TraceRequest)| {
            Ok(Shown {
                request: request.clone(),
                floors: self.reference.trace(request)?,
                subject: self.subject.trace(request)?,
            })
        };
        self.questions.iter().map(shown).collect()
    }

    /// The largest error ratio between the subject and `bridge`.
    fn ratio(&self, bridge: &dyn TraceSource, shown: &[Shown]) -> Result<f64, PluginError> {
        let mut worst = 0.0_f64;
        for one in shown {
            let answer = bridge.trace(&one.request)?;
            let comparison = Comparison::new(self.info, &one.request, &one.floors)?;
            for (quantity, value) in &answer.values {
                let subject = one.subject.value(quantity);
                let evaluation = Evaluation::Cumulative;
                worst = worst.max(
                    match comparison.measure(quantity, evaluation, subject, value)? {
                        Outcome::Measured(measurement) => measurement.ratio,
                        Outcome::Broken(divergence) => divergence.ratio,
                    },
                );
            }
        }
        Ok(worst)
    }
}

struct Search<'a, 'z> {
    likened: &'a Likened<'a>,
    right: Bridge,
    shown: Vec<Shown>,
    zoos: Vec<&'z ForeignFaultZoo>,
    effort: Effort,
}

impl Search<'_, '_> {
    /// Every mistake by itself, the one that is nearest first.
    fn alone(&mut self) -> Result<Vec<Shared>, PluginError> {
        let mut shared = Vec::new();
        for (fault, edits) in self.faults(self.likened.spec)? {
            if !self.effort.allows_one_more() {
                continue;
            }
            let Some(ratio) = self.tried(&edits).filter(|ratio| is_alike(*ratio)) else {
                continue;
            };
            shared.push(Shared {
                faults: vec![fault],
                ratio,
            });
        }
        shared.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        Ok(shared)
    }

    /// One mistake after the other, each time the one that brings the two nearest; nothing if they are not alike in the end.
    fn together(&mut self, mut ratio: f64) -> Result<Option<Shared>, PluginError> {
        let mut spec = self.likened.spec.clone();
        let mut made = Vec::new();
        while made.len() < TOGETHER && !is_alike(ratio) {
            let mut best: Option<(f64, Fault, ModelSpec)> = None;
            for (fault, edits) in self.faults(&spec)? {
                let [
                    FaultEdit::Spec {
                        runs: Runs::All,
                        spec,
                    },
                ] = edits.as_slice()
                else {
                    continue;
                };
                let nearest = best.as_ref().map_or(ratio, |(ratio, ..)| *ratio);
                if let Some(ratio) = self.tried(&edits).filter(|ratio| *ratio < nearest) {
                    best = Some((ratio, fault, (**spec).clone()));
                }
            }
            let Some((nearer, fault, with)) = best else {
                return Ok(None);
            };
            made.push(fault);
            (ratio, spec) = (nearer, with);
        }
        Ok(is_alike(ratio).then_some(Shared {
            faults: made,
            ratio,
        }))
    }

    /// Every mistake that a model of `spec` has a place for.
    fn faults(&self, spec: &ModelSpec) -> Result<Vec<(Fault, Vec<FaultEdit>)>, PluginError> {
        let all = mistakes(self.zoos.iter().copied(), spec, |_| true);
        all.map(|(fault, edits)| Ok((fault, edits?))).collect()
    }

    /// How far the subject is from the right model with `edits`; nothing if that cannot be run.
    fn tried(&mut self, edits: &[FaultEdit]) -> Option<f64> {
        self.effort.spend();
        let faulty = FaultyBridge::new(&self.right, self.likened.weights, edits).ok()?;
        self.likened.ratio(&faulty, &self.shown).ok()
    }
}
