//! The suite on trial: each mistake that a model has a place for is put into it, and judged as any subject is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tlbench_engine::Bridge;
use tlbench_sdk::{
    DType, Evaluation, Fault, FaultEdit, Processing, Runs, TraceRequest, TraceSource, Verdict,
};

use super::diagnosis::{Suspect, hook_by_hook};
use super::planning::PlannedCheck;
use super::trial::Trial;
use super::{Session, announced, verdict_on};
use crate::answers::{Answers, Parties};
use crate::config::Sensitivity;
use crate::diagnosis::{Explanation, Patient, diagnose, first_changed, is_same_component};
use crate::events::{CheckId, Event};
use crate::faulty::{FaultyBridge, mistakes};
use crate::in_order::{in_lanes, lanes};
use crate::known_answers::KnownAnswers;
use crate::plugins::Registry;
use crate::sensitivity::{
    Catch, Excitement, FaultJudged, FaultOutcome, LogitsAlone, Overheard, Probes, Recognition,
    Score,
};
use crate::subject::{ExactSubject, Subject};

/// A suite on trial.
struct Laboratory<'a> {
    settings: &'a Sensitivity,
    trial: &'a Trial<'a>,
    /// The model without a mistake.
    right: &'a Bridge,
    /// The same in f64.
    exact: &'a KnownAnswers<'a>,
    planned: &'a [PlannedCheck<'a>],
    probes: &'a Probes,
    registry: &'a Registry,
}

impl Session<'_> {
    /// Judges the model, and then every mistake.
    pub(super) fn judge_with_faults(
        &self,
        planned: &[PlannedCheck<'_>],
        trial: &Trial<'_>,
        settings: &Sensitivity,
    ) {
        let truth = KnownAnswers::of(trial.truth);
        let trial = Trial {
            truth: &truth,
            ..*trial
        };
        let red = self.judge_all(planned, &trial);
        let right = match trial.subject {
            Subject::Bridge(right) if red.count == 0 => right,
            Subject::Bridge(_) => {
                return self.note("sensitivity was not measured: a check is red without a mistake");
            }
            Subject::Other(_) => {
                return self.note("sensitivity was not measured: mistakes are made in the bridge");
            }
        };
        let weights = trial.model.folder.weights();
        let exact = match Bridge::open(&trial.model.spec, weights, DType::F64) {
            Ok(exact) => exact,
            Err(error) => return self.note(format!("sensitivity was not measured: {error}")),
        };
        let Some(first) = planned.first() else {
            return self.note("sensitivity was not measured: there is no check");
        };
        let parameters = trial.model.parameters(&Processing::raw());
        self.judge_faults(&Laboratory {
            settings,
            trial: &trial,
            right,
            exact: &KnownAnswers::of(&exact),
            planned,
            probes: &Probes::new(&first.info, &parameters),
            registry: self.registry,
        });
    }

    /// Judges every mistake, and tells of each and of all.
    fn judge_faults(&self, laboratory: &Laboratory<'_>) {
        let faults = self.faults(laboratory);
        let judged: Mutex<BTreeMap<usize, FaultJudged>> = Mutex::default();
        let judge = |index: usize| {
            let (fault, edits) = &faults[index];
            self.progress(format!("{}: {}", self.entry.name, fault.id));
            let one = laboratory.judge(&self.entry.name, fault.clone(), edits);
            lock(&judged).insert(index, one);
        };
        let panicked = |index: usize, message: String| {
            let fault = &faults[index].0.id;
            self.note(format!("fault `{fault}`: tlbench panicked: {message}"));
        };
        in_lanes(faults.len(), lanes(), judge, panicked);
        let judged = std::mem::take(&mut *lock(&judged));
        let minimum = laboratory.settings.minimum;
        let score = Score::of(&self.entry.name, judged.values(), minimum);
        for one in judged.into_values() {
            self.sink.emit(Event::FaultJudged(Box::new(one)));
        }
        self.sink.emit(Event::SensitivityScored(score));
    }

    /// Every mistake that was chosen and that the model has a place for, with its edits.
    fn faults(&self, laboratory: &Laboratory<'_>) -> Vec<(Fault, Vec<FaultEdit>)> {
        let zoos = self.registry.faults.values().map(|offer| &offer.object);
        let is_chosen = |fault: &Fault| laboratory.settings.chooses(fault);
        let mut faults = Vec::new();
        for (fault, edits) in mistakes(zoos, &laboratory.trial.model.spec, is_chosen) {
            match edits {
                Ok(edits) => faults.push((fault, edits)),
                Err(error) => self.note(format!("fault `{}` cannot be made: {error}", fault.id)),
            }
        }
        faults
    }

    fn note(&self, message: impl Into<String>) {
        let (model, message) = (self.entry.name.clone(), message.into());
        self.sink.emit(Event::Note { model, message });
    }
}

impl Laboratory<'_> {
    fn judge(&self, model: &str, fault: Fault, edits: &[FaultEdit]) -> FaultJudged {
        let started = Instant::now();
        let (outcome, by_logits) = self.outcome(edits);
        let recognition = self.recognition(edits, &outcome);
        FaultJudged {
            model: model.to_owned(),
            reference: self.trial.reference.id.clone(),
            tier: self.trial.reference.tier,
            fault,
            outcome,
            by_logits,
            recognition,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn outcome(&self, edits: &[FaultEdit]) -> (FaultOutcome, Option<LogitsAlone>) {
        let model = self.trial.model;
        let weights = model.folder.weights();
        let faulty = match FaultyBridge::new(self.right, weights, edits) {
            Ok(faulty) => faulty,
            Err(error) => {
                let reason = error.to_string();
                return (FaultOutcome::Refused { reason }, None);
            }
        };
        let exact = ExactSubject::faulty(&model.spec, weights, edits);
        let Judged {
            caught,
            questions,
            by_logits,
        } = self.judged(&faulty, &exact);
        let by_logits = by_logits.filter(|_| self.settings.complete);
        let mut seen_by = BTreeMap::new();
        for catch in caught.iter().filter(|_| self.settings.complete) {
            *seen_by.entry(catch.check.benchmark.clone()).or_default() += 1;
        }
        if let Some(by) = most_telling(caught) {
            return (FaultOutcome::Caught { by, seen_by }, by_logits);
        }
        let excitement = Excitement {
            right: self.exact,
            faulty: &exact,
            hooks: &model.hooks,
        };
        let random = self.settings.random_inputs;
        let outcome = excitement.unseen(&questions, self.probes, random);
        (outcome, by_logits)
    }

    /// What is told of a mistake that was caught, if that was asked for and a spec can say what is wrong.
    fn recognition(&self, edits: &[FaultEdit], outcome: &FaultOutcome) -> Option<Recognition> {
        let FaultOutcome::Caught { .. } = outcome else {
            return None;
        };
        let [
            FaultEdit::Spec {
                runs: Runs::All,
                spec: wrong,
            },
        ] = edits
        else {
            return None;
        };
        if !self.settings.diagnose {
            return None;
        }
        let model = self.trial.model;
        let weights = model.folder.weights();
        let expected = first_changed(&model.spec, wrong)?;
        let suspects = self.planned.iter().filter_map(Suspect::of).collect();
        let (info, questions) = hook_by_hook(suspects)?;
        let patient = Patient {
            spec: wrong,
            weights,
            config: model.folder.config(),
            info: &info,
            reference: self.trial.truth,
            questions,
        };
        let case = patient.case().ok().flatten();
        let diagnosis = case
            .as_ref()
            .and_then(|case| diagnose(case, self.registry.faults.values()).ok());
        let by_divergence = case.as_ref().map(|case| case.component().to_owned());
        let explanations = diagnosis.map_or_else(Vec::new, |found| found.explanations);
        let first = explanations.first();
        let found = first.map(|first| first.component.clone());
        let found = found.or_else(|| by_divergence.clone());
        let is_right = |explanation: &Explanation| {
            is_same_component(&model.spec, &explanation.spec, &expected, weights)
        };
        Some(Recognition {
            is_located_by_divergence: by_divergence.as_ref() == Some(&expected),
            is_located: found.as_ref() == Some(&expected),
            named: explanations.iter().position(is_right),
            finding: first.map(|first| first.finding.clone()),
            first_divergence: case.as_ref().map(|case| case.hook().to_owned()),
            by_divergence,
            expected,
            found,
        })
    }

    /// The checks that are red, up to the first that says where unless all are wanted, and all that was asked of the subject.
    fn judged(&self, faulty: &dyn TraceSource, exact: &dyn TraceSource) -> Judged {
        let faulty = Overheard::new(faulty);
        let parties = Parties {
            subject: &faulty,
            exact_subject: exact,
            reference: self.trial.truth,
        };
        let answers = Answers::new(parties, self.trial.parameters.clone());
        let mut answers = announced(answers, self.planned);
        let (mut caught, mut by_logits) = (Vec::new(), None);
        let mut planned: Vec<&PlannedCheck<'_>> = self.planned.iter().collect();
        if !self.settings.complete {
            planned.sort_by_key(|planned| effort(planned));
        }
        for check in planned {
            // What plain runs have seen, though not where, need not be seen by costlier ones.
            if !self.settings.complete && !caught.is_empty() && effort(check) > 0 {
                break;
            }
            let verdict = verdict_on(check, &mut answers);
            by_logits = LogitsAlone::with(by_logits, &verdict.measurements);
            if let Some(catch) = caught_by(check.id.clone(), verdict) {
                let is_located = catch.first_divergence.is_some();
                caught.push(catch);
                if !self.settings.complete && is_located {
                    break;
                }
            }
        }
        drop(answers);
        Judged {
            caught,
            questions: faulty.questions(),
            by_logits,
        }
    }
}

/// What checks have made of a mistake.
struct Judged {
    caught: Vec<Catch>,
    /// All that was asked of the subject.
    questions: Vec<TraceRequest>,
    by_logits: Option<LogitsAlone>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn caught_by(check: CheckId, verdict: Verdict) -> Option<Catch> {
    verdict.severity.is_red().then_some(Catch {
        check,
        severity: verdict.severity,
        message: verdict.message,
        first_divergence: verdict.first_divergence,
    })
}

/// The first that says where, or else the first.
fn most_telling(caught: Vec<Catch>) -> Option<Catch> {
    let place = caught
        .iter()
        .position(|catch| catch.first_divergence.is_some());
    caught.into_iter().nth(place.unwrap_or(0))
}

/// What is decided by plain runs comes first: it is cheap, and says where.
fn effort(planned: &PlannedCheck<'_>) -> usize {
    let effort = |request: &TraceRequest| {
        let is_local = request.evaluation == Evaluation::Local;
        match request {
            request if request.is_plain() || is_local => 0,
            request if request.gradients.is_some() => 1,
            _ => 2,
        }
    };
    let requests = planned.check.requests.iter();
    requests
        .map(|planned| effort(&planned.request))
        .max()
        .unwrap_or(0)
}
