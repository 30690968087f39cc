//! One model on trial: its part of the plan in, events out.

mod bisect;
mod diagnosis;
mod order;
mod planning;
mod sensitivity;
mod trial;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value};
use tlbench_engine::Bridge;
use tlbench_sdk::{
    Benchmark, ErrorKind, Judgement, Mode, OpenRequest, PluginError, Processing, Role, Severity,
    Stimulus, Tier, TraceSource, Verdict, is_large,
};

use self::diagnosis::Suspect;
use self::planning::PlannedCheck;
use self::trial::Trial;
use crate::ahead::ahead;
use crate::answers::Answers;
use crate::config::{ModelEntry, RunSettings};
use crate::events::{BenchmarkResult, Event, EventSink, ModelOpened};
use crate::located::Located;
use crate::model::{Model, ModelError};
use crate::notes::notes;
use crate::outcome::{BACKTRACE, UNVERIFIED};
use crate::plugins::Registry;
use crate::processed::ProcessedReference;
use crate::references::{OpenReference, ProgressHost, Search, Unavailable};
use crate::room::Room;

/// How often a benchmark may ask for more before its check is given up.
const MAX_ROUNDS: usize = 16;

/// A benchmark that was chosen, with its options.
pub(crate) struct ChosenBenchmark<'a> {
    pub(crate) benchmark: &'a dyn Benchmark,
    pub(crate) options: Map<String, Value>,
}

/// What was red.
#[derive(Default)]
struct RedChecks {
    count: usize,
    /// Those that can be explained.
    plain: Vec<Suspect>,
}

/// One model on trial.
pub(crate) struct Session<'a> {
    pub(crate) entry: &'a ModelEntry,
    pub(crate) run: &'a RunSettings,
    pub(crate) registry: &'a Registry,
    pub(crate) benchmarks: &'a [ChosenBenchmark<'a>],
    pub(crate) reference_options: &'a (dyn Fn(&str) -> Map<String, Value> + Sync),
    pub(crate) room: &'a Room,
    pub(crate) sink: &'a dyn EventSink,
}

impl Session<'_> {
    /// Runs every check of the model.
    pub(crate) fn run(&self) {
        if let Err(error) = self.try_run() {
            self.sink.emit(Event::ModelFailed {
                model: self.entry.name.clone(),
                message: error.to_string(),
            });
        }
    }

    fn try_run(&self) -> Result<(), ModelError> {
        let (located, model) = self.open_model()?;
        let _place = self
            .room
            .take(is_large(&model.parameters(&Processing::raw())));
        let digests = [model.folder.config_digest(), model.folder.weights_digest()?];
        let stimuli = self.stimuli(&model, &Processing::raw())?;
        let host = ProgressHost(self.sink);
        let asked = OpenRequest {
            role: Role::Subject,
            ..self.open_request(&model, self.subject_name(), &stimuli, &digests)
        };
        let on_trial = self.on_trial()?;
        let subject = self.open_subject(on_trial, &model, &asked, &host)?;
        self.sink.emit(Event::ModelOpened(self.opened(
            &located,
            &model,
            subject.source(),
            &digests,
        )));
        let bridge = subject.bridge();
        let (reference, unavailable) = self.best_reference(&model, bridge, &stimuli, &digests);
        self.report_references(reference.as_ref(), &unavailable);
        if let Some(reference) = &reference {
            self.report_notes(&model, reference.stimuli(&stimuli), &stimuli);
        }
        let unverified = self.unverified(&unavailable);
        let processed = reference.as_ref().map(|reference| {
            ProcessedReference::new(
                reference.source.as_ref(),
                reference.stimuli(&stimuli),
                &model.spec,
                model.folder.weights(),
            )
        });
        let (mut planned, mut failed) = (Vec::new(), Vec::new());
        let mut parameters = BTreeMap::new();
        if let (Some(reference), Some(processed)) = (&reference, &processed) {
            let subject = subject.source().info();
            let modes = self.modes(&model, &subject, reference, processed, &stimuli)?;
            let all = modes.iter().flat_map(|mode| &mode.parameters);
            parameters.extend(all.map(|one| (one.name.clone(), one.elements())));
            for mode in &modes {
                let (in_mode, cannot_plan) = self.plan(&model, reference, mode);
                planned.extend(in_mode);
                failed.extend(cannot_plan);
            }
            failed.extend(self.in_no_mode(reference, &modes));
        }
        let all = planned
            .iter()
            .map(|p| &p.id)
            .chain(failed.iter().chain(&unverified).map(|result| &result.check));
        self.sink.emit(Event::Planned {
            model: self.entry.name.clone(),
            checks: all.cloned().collect(),
        });
        if let (Some(reference), Some(processed)) = (&reference, &processed) {
            let source = if reference.info.processes_weights {
                reference.source.as_ref()
            } else {
                processed
            };
            let exact_subject = on_trial.exact(&model, asked, &host);
            let trial = Trial {
                model: &model,
                reference,
                truth: source,
                subject: &subject,
                exact_subject: &exact_subject,
                parameters: &parameters,
            };
            match &self.run.sensitivity {
                None => {
                    let red = self.judge_all(&planned, &trial);
                    self.diagnose(red.plain, &trial);
                }
                Some(settings) => self.judge_with_faults(&planned, &trial, settings),
            }
        }
        for result in failed.into_iter().chain(unverified) {
            self.sink.emit(Event::CheckFinished(Box::new(result)));
        }
        Ok(())
    }

    fn open_model(&self) -> Result<(Located, Model), ModelError> {
        self.progress(format!("reading {}", self.entry.source));
        let located = Located::find(&self.entry.source, self.run.offline, self.sink)?;
        let architecture = self.entry.architecture.as_deref();
        let model = Model::open(&located.folder, architecture, self.registry)?;
        Ok((located, model))
    }

    /// The first reference that answers, and those before it that do not.
    fn best_reference(
        &self,
        model: &Model,
        subject: Option<&Bridge>,
        stimuli: &[Stimulus],
        digests: &[String; 2],
    ) -> (Option<OpenReference>, Vec<Unavailable>) {
        let search = Search {
            model,
            subject,
            registry: self.registry,
            excluded: &self.run.excluded_tiers,
            sink: self.sink,
        };
        search.best(&self.entry.references, |id| {
            self.open_request(model, id, stimuli, digests)
        })
    }

    fn opened(
        &self,
        located: &Located,
        model: &Model,
        subject: &dyn TraceSource,
        [config_digest, weights_digest]: &[String; 2],
    ) -> ModelOpened {
        ModelOpened {
            model: self.entry.name.clone(),
            folder: located.folder.clone(),
            hub: located.hub.clone(),
            architecture: model.architecture.clone(),
            subject: self.subject_name().to_owned(),
            provenance: subject.info().provenance,
            dtype: self.entry.dtype,
            config_digest: config_digest.clone(),
            weights_digest: weights_digest.clone(),
            keys_not_read: model.usage.keys_not_read.clone(),
            tensors_not_taken: model.usage.tensors_not_taken.clone(),
        }
    }

    fn open_request(
        &self,
        model: &Model,
        reference: &str,
        stimuli: &[Stimulus],
        [config_digest, weights_digest]: &[String; 2],
    ) -> OpenRequest {
        OpenRequest {
            folder: model.folder.path().to_owned(),
            spec: model.spec.clone(),
            hooks: model.hooks.clone(),
            role: Role::Reference,
            dtype: self.entry.dtype,
            config_digest: config_digest.clone(),
            weights_digest: weights_digest.clone(),
            recording: self.entry.recording.clone(),
            stimuli: stimuli.to_vec(),
            options: (self.reference_options)(reference),
        }
    }

    fn report_references(&self, opened: Option<&OpenReference>, unavailable: &[Unavailable]) {
        let model = || self.entry.name.clone();
        for missing in unavailable {
            let (reference, reason) = (missing.asked.clone(), missing.reason.clone());
            self.sink.emit(Event::ReferenceUnavailable {
                model: model(),
                reference,
                reason,
            });
        }
        if let Some(opened) = opened {
            self.sink.emit(Event::ReferenceOpened {
                model: model(),
                reference: opened.id.clone(),
                tier: opened.tier,
                provenance: opened.info.provenance.clone(),
            });
        }
    }

    fn report_notes(&self, model: &Model, used: &[Stimulus], default: &[Stimulus]) {
        let is_used = |asked: &Stimulus| {
            let mut inputs = used.iter().map(|stimulus| &stimulus.request.inputs);
            inputs.any(|inputs| *inputs == asked.request.inputs)
        };
        // The first is the text as it is; whoever answers may leave out others, or add some.
        let recorded = !default.first().is_some_and(is_used);
        for message in notes(model, self.entry, self.run, used, recorded) {
            let model = self.entry.name.clone();
            self.sink.emit(Event::Note { model, message });
        }
    }

    /// What a missing reference leaves unverified: never a pass, and an ERROR where something is wrong with it.
    fn unverified(&self, unavailable: &[Unavailable]) -> Vec<BenchmarkResult> {
        let result = |missing: &Unavailable, chosen: &ChosenBenchmark<'_>| {
            let severity = if missing.is_broken {
                Severity::Error
            } else {
                Severity::Skipped
            };
            let tier = missing.tier.unwrap_or(Tier::HuggingFace);
            let verdict = Verdict::new(
                severity,
                format!("not verified against {}: {}", missing.asked, missing.reason),
            );
            let id = self.id(chosen, Mode::Raw, &missing.asked, UNVERIFIED);
            BenchmarkResult::new(id, tier, verdict, 0.0)
        };
        let missing = unavailable.iter().filter(|missing| missing.counts());
        missing
            .flat_map(|missing| {
                self.benchmarks
                    .iter()
                    .map(move |chosen| result(missing, chosen))
            })
            .collect()
    }

    /// Judges all checks, and gives what was red.
    fn judge_all(&self, planned: &[PlannedCheck<'_>], trial: &Trial<'_>) -> RedChecks {
        let answers = announced(trial.answers(), planned);
        if !is_large(&trial.model.parameters(&Processing::raw())) {
            return self.judge_each(planned, trial, answers);
        }
        let requests = planned.iter().flat_map(|planned| &planned.check.requests);
        let next = answers.to_reference(requests);
        ahead(trial.truth, next, |truth| {
            self.judge_each(planned, trial, answers.with_reference(truth))
        })
    }

    fn judge_each(
        &self,
        planned: &[PlannedCheck<'_>],
        trial: &Trial<'_>,
        mut answers: Answers<'_>,
    ) -> RedChecks {
        let mut red = RedChecks::default();
        for check in planned {
            self.sink.emit(Event::CheckStarted {
                check: check.id.clone(),
            });
            let started = Instant::now();
            let verdict = verdict_on(check, &mut answers);
            red.count += usize::from(verdict.severity.is_red());
            if verdict.severity == Severity::Danger {
                red.plain
                    .extend(Suspect::of(check).map(|suspect| suspect.judged(&verdict)));
            }
            let (id, tier) = (check.id.clone(), trial.reference.tier);
            let result = BenchmarkResult::new(id, tier, verdict, started.elapsed().as_secs_f64());
            self.sink.emit(Event::CheckFinished(Box::new(result)));
        }
        red
    }

    fn progress(&self, message: String) {
        self.sink.emit(Event::Progress { message });
    }
}

/// With everything that `planned` asks, so that it is merged before anything is answered.
fn announced<'a>(mut answers: Answers<'a>, planned: &[PlannedCheck<'_>]) -> Answers<'a> {
    for request in planned.iter().flat_map(|planned| &planned.check.requests) {
        answers.announce(request);
    }
    answers
}

/// How a check ends.
fn verdict_on(planned: &PlannedCheck<'_>, answers: &mut Answers<'_>) -> Verdict {
    judge(planned, answers).unwrap_or_else(|error| verdict_of(&error))
}

/// Asks what a check asks, until it is decided.
fn judge(planned: &PlannedCheck<'_>, answers: &mut Answers<'_>) -> Result<Verdict, PluginError> {
    let PlannedCheck { chosen, info, .. } = planned;
    let mut check = Cow::Borrowed(&planned.check);
    let mut traces = Vec::new();
    // Every announced request is taken, also where an earlier one failed: others wait for the same answer.
    let first: Vec<_> = check
        .requests
        .iter()
        .map(|request| answers.take(request))
        .collect();
    let mut lacks = None;
    for (planned, answer) in check.requests.iter().zip(first) {
        match answer {
            Ok(trace) => traces.push(trace),
            Err(error) if is_lack(planned.role, &error) => lacks = lacks.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = lacks {
        return Ok(lacking(&error));
    }
    for _ in 0..MAX_ROUNDS {
        match chosen.benchmark.judge(info, &check, &traces)? {
            Judgement::Verdict(verdict) => {
                verdict.check(&check, info.judging)?;
                return Ok(verdict);
            }
            Judgement::More(requests) if requests.is_empty() => {
                return Err(PluginError::internal("asks for more, and for nothing"));
            }
            Judgement::More(requests) => {
                for request in requests {
                    match answers.follow_up(&request) {
                        Ok(trace) => traces.push(trace),
                        Err(error) if is_lack(request.role, &error) => return Ok(lacking(&error)),
                        Err(error) => return Err(error),
                    }
                    check.to_mut().requests.push(request);
                }
            }
        }
    }
    Err(PluginError::internal(format!(
        "still asks for more after {MAX_ROUNDS} rounds"
    )))
}

/// Whether it is the subject that should have an answer.
fn is_lack(role: Role, error: &PluginError) -> bool {
    role != Role::Reference && error.kind == ErrorKind::Missing
}

/// The end of a check in which the subject has no answer, and the reference has whatever it was asked for.
fn lacking(error: &PluginError) -> Verdict {
    let message = format!("the subject has no answer where the reference has one: {error}");
    Verdict::new(Severity::Danger, message)
}

/// An error as the end of a check: where there is no answer to compare with, it is skipped.
fn verdict_of(error: &PluginError) -> Verdict {
    let severity = match error.kind {
        ErrorKind::Unsupported | ErrorKind::Missing => Severity::Skipped,
        ErrorKind::InvalidInput | ErrorKind::Io | ErrorKind::Panic | ErrorKind::Internal => {
            Severity::Error
        }
    };
    let verdict = Verdict::new(severity, error.to_string());
    match &error.backtrace {
        Some(backtrace) => verdict.detail(BACKTRACE, backtrace.clone()),
        None => verdict,
    }
}
