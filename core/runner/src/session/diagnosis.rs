//! What explains a red model, beside the verdicts of its checks.

use std::cmp::Reverse;
use std::sync::Arc;

use tlbench_sdk::{ModelInfo, Role, TraceRequest};

use super::Session;
use super::planning::PlannedCheck;
use super::trial::Trial;
use crate::diagnosis::{Patient, diagnose};
use crate::events::Event;
use crate::subject::Subject;

/// The most inputs that a diagnosis looks at.
const QUESTIONS: usize = 4;

/// A plain question about hooks, of a check that was red.
pub(super) struct Suspect {
    info: Arc<ModelInfo>,
    input: String,
    request: TraceRequest,
}

impl Suspect {
    /// What `planned` asks the reference, if it can be asked component by component.
    pub(super) fn of(planned: &PlannedCheck<'_>) -> Option<Self> {
        let first = planned.check.requests.first()?;
        let request = &first.request;
        let shows_hooks = request.capture.iter().any(|one| one.as_hook().is_some());
        let is_plain = request.is_plain() && request.processing.is_raw();
        (first.role == Role::Reference && is_plain && shows_hooks).then(|| Self {
            info: Arc::clone(&planned.info),
            input: planned.check.variant.clone(),
            request: request.clone(),
        })
    }
}

/// A question, and the input that it is about.
type Named = (String, TraceRequest);

/// The questions of `suspects`, those first that show most; and what is known of the model that they are about.
pub(super) fn questions(suspects: Vec<Suspect>) -> Option<(Arc<ModelInfo>, Vec<Named>)> {
    let info = Arc::clone(&suspects.first()?.info);
    let mut questions: Vec<(String, TraceRequest)> = Vec::new();
    let mut suspects = suspects;
    suspects.sort_by_key(|suspect| Reverse(suspect.request.capture.len()));
    for Suspect { input, request, .. } in suspects {
        let is_new = |(_, known): &(String, TraceRequest)| known.inputs != request.inputs;
        if questions.iter().all(is_new) {
            questions.push((input, request));
        }
    }
    questions.truncate(QUESTIONS);
    Some((info, questions))
}

impl Session<'_> {
    /// Tells what explains the first component that differs, if the bridge is on trial and mistakes are known.
    pub(super) fn diagnose(&self, suspects: Vec<Suspect>, trial: &Trial<'_>) {
        let (Subject::Bridge(_), Some((info, questions))) = (trial.subject, questions(suspects))
        else {
            return;
        };
        if self.registry.faults.is_empty() {
            return;
        }
        self.progress(format!("{}: looking for what explains it", self.entry.name));
        let patient = Patient {
            spec: &trial.model.spec,
            weights: trial.model.folder.weights(),
            info: &info,
            reference: trial.truth,
            questions,
        };
        match diagnose(&patient, self.registry.faults.values()) {
            Ok(Some(diagnosis)) => self.sink.emit(Event::Diagnosed(Box::new(diagnosis))),
            Ok(None) => {}
            Err(error) => self.sink.emit(Event::Note {
                model: self.entry.name.clone(),
                message: format!("the first divergence was not explained: {error}"),
            }),
        }
    }
}
