//! What explains a red model, beside the verdicts of its checks.

use std::cmp::Reverse;
use std::sync::Arc;

use tlbench_sdk::{ModelInfo, PluginError, Quantity, Role, TraceRequest, Verdict, is_large};

use super::Session;
use super::planning::PlannedCheck;
use super::trial::Trial;
use crate::diagnosis::{Likened, Patient, diagnose, likeness};
use crate::events::Event;
use crate::subject::Subject;

/// The most inputs that a diagnosis looks at.
const QUESTIONS: usize = 4;

/// A plain question, of a check that was red.
pub(super) struct Suspect {
    info: Arc<ModelInfo>,
    input: String,
    request: TraceRequest,
    /// What the subject has shown of it.
    measured: Vec<Quantity>,
}

impl Suspect {
    /// What `planned` asks the reference, if it is a plain run with the weights as they are.
    pub(super) fn of(planned: &PlannedCheck<'_>) -> Option<Self> {
        let first = planned.check.requests.first()?;
        let request = &first.request;
        let is_plain = request.is_plain() && request.processing.is_raw();
        (first.role == Role::Reference && is_plain).then(|| Self {
            info: Arc::clone(&planned.info),
            input: planned.check.variant.clone(),
            request: request.clone(),
            measured: Vec::new(),
        })
    }

    /// The same with what the check has come to.
    pub(super) fn judged(self, verdict: &Verdict) -> Self {
        let measured = verdict.measurements.iter();
        Self {
            measured: measured.map(|one| one.quantity.clone()).collect(),
            ..self
        }
    }

    /// The question for what was measured alone, if anything was that it asks for.
    fn of_what_was_shown(mut self) -> Option<Self> {
        let measured = std::mem::take(&mut self.measured);
        self.request.capture.retain(|one| measured.contains(one));
        (!self.request.capture.is_empty()).then_some(self)
    }

    /// Whether it can be asked component by component.
    fn shows_hooks(&self) -> bool {
        let mut capture = self.request.capture.iter();
        capture.any(|one| one.as_hook().is_some())
    }
}

/// A question, and the input that it is about.
type Named = (String, TraceRequest);

/// The questions of `suspects` that go component by component; and what is known of the model that they are about.
pub(super) fn hook_by_hook(mut suspects: Vec<Suspect>) -> Option<(Arc<ModelInfo>, Vec<Named>)> {
    suspects.retain(Suspect::shows_hooks);
    questions(suspects)
}

/// The questions of `suspects`, those first that show most; and what is known of the model that they are about.
fn questions(mut suspects: Vec<Suspect>) -> Option<(Arc<ModelInfo>, Vec<Named>)> {
    let info = Arc::clone(&suspects.first()?.info);
    let mut questions: Vec<Named> = Vec::new();
    suspects.sort_by_key(|suspect| Reverse(suspect.request.capture.len()));
    for Suspect { input, request, .. } in suspects {
        let is_new = |(_, known): &Named| known.inputs != request.inputs;
        if questions.iter().all(is_new) {
            questions.push((input, request));
        }
    }
    let most = if is_large(&info.parameters) {
        1
    } else {
        QUESTIONS
    };
    questions.truncate(most);
    Some((info, questions))
}

impl Session<'_> {
    /// Tells what explains what is red, if mistakes are known: in the bridge, what was taken for what; in another subject,
    /// which mistakes it computes as if.
    pub(super) fn diagnose(&self, suspects: Vec<Suspect>, trial: &Trial<'_>) {
        if self.registry.faults.is_empty() {
            return;
        }
        let told = match trial.subject {
            Subject::Bridge(_) => self.diagnosis_of_bridge(suspects, trial),
            Subject::Other(_) => self.likeness_of(suspects, trial),
        };
        match told {
            Ok(Some(event)) => self.sink.emit(event),
            Ok(None) => {}
            Err(error) => self.sink.emit(Event::Note {
                model: self.entry.name.clone(),
                message: format!("the first divergence was not explained: {error}"),
            }),
        }
    }

    fn diagnosis_of_bridge(
        &self,
        suspects: Vec<Suspect>,
        trial: &Trial<'_>,
    ) -> Result<Option<Event>, PluginError> {
        let Some((info, questions)) = hook_by_hook(suspects) else {
            return Ok(None);
        };
        self.progress(format!("{}: looking for what explains it", self.entry.name));
        let patient = Patient {
            spec: &trial.model.spec,
            weights: trial.model.folder.weights(),
            config: trial.model.folder.config(),
            info: &info,
            reference: trial.truth,
            questions,
        };
        let Some(case) = patient.case()? else {
            return Ok(None);
        };
        let diagnosis = diagnose(&case, self.registry.faults.values())?;
        Ok(Some(Event::Diagnosed(Box::new(diagnosis))))
    }

    fn likeness_of(
        &self,
        suspects: Vec<Suspect>,
        trial: &Trial<'_>,
    ) -> Result<Option<Event>, PluginError> {
        let shown = suspects.into_iter().filter_map(Suspect::of_what_was_shown);
        let Some((info, questions)) = questions(shown.collect()) else {
            return Ok(None);
        };
        self.progress(format!(
            "{}: looking for a mistake that shows the same",
            self.entry.name
        ));
        let likened = Likened {
            spec: &trial.model.spec,
            weights: trial.model.folder.weights(),
            info: &info,
            reference: trial.truth,
            subject: trial.subject.source(),
            questions,
        };
        let found = likeness(&likened, self.registry.faults.values())?;
        Ok(found.map(|likeness| Event::Likened(Box::new(likeness))))
    }
}
