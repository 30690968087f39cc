//! Asks each model each question once.
//!
//! Questions that differ only in what they show are merged into one pass, as long as that does not gather more weights or
//! gradients of parameters than memory should hold. An answer is kept until its last consumer has had it, unless it is of
//! many weights: those are there already, and are shown again to each who asks.

mod local_runs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use tlbench_sdk::{
    ErrorKind, PlannedRequest, PluginError, Quantity, Role, Tensor, Trace, TraceRequest,
    TraceSource,
};

use local_runs::LocalRuns;

/// Elements of parameters that one answer gathers. All of them take as much memory as the model.
const GATHERED: usize = 16 << 20;

/// Elements of parameters that are many. Of so many weights an answer is not kept.
const MANY: usize = 4 << 20;

/// Those who answer.
pub(crate) struct Parties<'a> {
    pub(crate) subject: &'a dyn TraceSource,
    pub(crate) exact_subject: &'a dyn TraceSource,
    pub(crate) reference: &'a dyn TraceSource,
}

impl Parties<'_> {
    fn ask(&self, role: Role, request: &TraceRequest) -> Result<Trace, PluginError> {
        match role {
            Role::Subject => self.subject.trace(request),
            Role::ExactSubject => self.exact_subject.trace(request),
            Role::Reference => self.reference.trace(request),
        }
    }
}

/// The questions of all checks, and the answers that somebody still waits for.
pub(crate) struct Answers<'a> {
    parties: Parties<'a>,
    /// Elements of each parameter, by every name that it goes by.
    parameters: BTreeMap<String, usize>,
    questions: HashMap<u64, Vec<Question>>,
    local_runs: LocalRuns,
}

struct Question {
    role: Role,
    repetition: u32,
    /// With everything that anybody wants to see.
    merged: TraceRequest,
    /// What each who still waits wants to see.
    consumers: Vec<Vec<Quantity>>,
    answer: Option<Result<Trace, PluginError>>,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(parties: Parties<'a>, parameters: BTreeMap<String, usize>) -> Self {
        Self {
            parties,
            parameters,
            questions: HashMap::new(),
            local_runs: LocalRuns::default(),
        }
    }

    /// Announces a request, so that it is merged with others before any is asked.
    pub(crate) fn announce(&mut self, planned: &PlannedRequest) {
        let wanted = &planned.request.capture;
        let parameters = &self.parameters;
        let weights = wanted
            .iter()
            .filter(|one| matches!(one, Quantity::Weight(_)));
        if weights.map(|one| elements(one, parameters)).sum::<usize>() > MANY {
            return;
        }
        let bucket = self.questions.entry(digest(planned)).or_default();
        let merges = |question: &&mut Question| {
            question.is_asked_by(planned) && question.has_room_for(wanted, parameters)
        };
        match bucket.iter_mut().find(merges) {
            Some(question) => question.add(wanted),
            None => bucket.push(Question {
                role: planned.role,
                repetition: planned.repetition,
                merged: planned.request.clone(),
                consumers: vec![wanted.clone()],
                answer: None,
            }),
        }
    }

    /// The same, with the reference answered for by `source`.
    pub(crate) fn with_reference(mut self, source: &'a dyn TraceSource) -> Self {
        self.parties.reference = source;
        self
    }

    /// What the reference is asked when `planned` are taken one after the other.
    pub(crate) fn to_reference<'p>(
        &self,
        planned: impl Iterator<Item = &'p PlannedRequest>,
    ) -> Vec<TraceRequest> {
        let mut known: Vec<*const Question> = Vec::new();
        let asked = planned.filter(|planned| planned.role == Role::Reference);
        let questions = asked.filter_map(|planned| {
            let bucket = self.questions.get(&digest(planned))?;
            bucket.iter().find(|question| question.is_for(planned))
        });
        let new = questions.filter(|question| {
            let is_new = !known.contains(&std::ptr::from_ref(*question));
            known.push(std::ptr::from_ref(*question));
            is_new
        });
        new.map(|question| question.merged.clone()).collect()
    }

    /// The answer to an announced request, with what it asked to see and no more.
    pub(crate) fn take(&mut self, planned: &PlannedRequest) -> Result<Trace, PluginError> {
        let questions = &self.questions;
        self.local_runs.retain(|announced| {
            let bucket = questions.get(&digest(announced)).into_iter().flatten();
            bucket
                .into_iter()
                .any(|question| question.is_asked_by(announced))
        });
        self.answer(planned)
    }

    fn answer(&mut self, planned: &PlannedRequest) -> Result<Trace, PluginError> {
        let wanted = &planned.request.capture;
        let bucket = self.questions.entry(digest(planned)).or_default();
        let Some(index) = bucket.iter().position(|question| question.is_for(planned)) else {
            let trace = self.parties.ask(planned.role, &planned.request)?;
            return shown(&trace, wanted);
        };
        let question = &mut bucket[index];
        let parties = &self.parties;
        let answer = question
            .answer
            .get_or_insert_with(|| parties.ask(question.role, &question.merged));
        let answer = match answer {
            Ok(trace) => shown(trace, wanted),
            // What one consumer asks for must not cost the others their answer. Whoever panicked says nothing more.
            Err(error) if error.kind == ErrorKind::Panic => Err(error.clone()),
            Err(error) if question.merged.capture == *wanted => Err(error.clone()),
            Err(_) => parties
                .ask(planned.role, &planned.request)
                .and_then(|trace| shown(&trace, wanted)),
        };
        if question.is_forgotten_by(wanted) {
            bucket.swap_remove(index);
        }
        answer
    }

    /// The answer to a request that a judgement has led to. One that repeats another is asked after all that was asked
    /// so far, whoever else has announced the same; a local run that another judgement has led to serves this one as well.
    pub(crate) fn follow_up(&mut self, planned: &PlannedRequest) -> Result<Trace, PluginError> {
        if planned.repetition > 0 {
            let trace = self.parties.ask(planned.role, &planned.request)?;
            return shown(&trace, &planned.request.capture);
        }
        if let Some(trace) = self.local_runs.shown(planned) {
            return Ok(trace);
        }
        let trace = self.answer(planned)?;
        self.local_runs.keep(planned, &trace);
        Ok(trace)
    }
}

impl Question {
    fn is_asked_by(&self, planned: &PlannedRequest) -> bool {
        (self.role, self.repetition) == (planned.role, planned.repetition)
            && differ_in_capture_alone(&self.merged, &planned.request)
    }

    /// Whether whoever planned this waits for its answer.
    fn is_for(&self, planned: &PlannedRequest) -> bool {
        self.is_asked_by(planned) && self.consumers.contains(&planned.request.capture)
    }

    /// Whether it may show `wanted` as well. What shows many parameters is asked for apart from what shows none, for which
    /// more checks wait.
    fn has_room_for(&self, wanted: &[Quantity], parameters: &BTreeMap<String, usize>) -> bool {
        let elements = |quantity: &Quantity| elements(quantity, parameters);
        let is_new = |quantity: &&Quantity| !self.merged.capture.contains(quantity);
        let added: usize = wanted.iter().filter(is_new).map(elements).sum();
        let wanted: usize = wanted.iter().map(elements).sum();
        let gathered: usize = self.merged.capture.iter().map(elements).sum();
        let are_apart = wanted.min(gathered) == 0 && wanted.max(gathered) > MANY;
        !are_apart && (added == 0 || gathered + added <= GATHERED)
    }

    fn add(&mut self, wanted: &[Quantity]) {
        for quantity in wanted {
            if !self.merged.capture.contains(quantity) {
                self.merged.capture.push(quantity.clone());
            }
        }
        self.consumers.push(wanted.to_vec());
    }

    /// One who wanted `wanted` has had it, and what nobody else waits for is gone. Whether nobody waits any more.
    fn is_forgotten_by(&mut self, wanted: &[Quantity]) -> bool {
        let place = self.consumers.iter().position(|one| one == wanted);
        place.map(|place| self.consumers.swap_remove(place));
        if let Some(Ok(trace)) = &mut self.answer {
            let waited_for: HashSet<&Quantity> = self.consumers.iter().flatten().collect();
            trace
                .values
                .retain(|quantity, _| waited_for.contains(quantity));
        }
        self.consumers.is_empty()
    }
}

/// Whether two requests ask the same, whatever each wants to see of the answer.
fn differ_in_capture_alone(one: &TraceRequest, other: &TraceRequest) -> bool {
    let TraceRequest {
        inputs,
        processing,
        chunks,
        capture: _,
        evaluation,
        truth,
        gradients,
        interventions,
        operands,
        generate,
    } = one;
    *evaluation == other.evaluation
        && *processing == other.processing
        && *chunks == other.chunks
        && *interventions == other.interventions
        && *gradients == other.gradients
        && *generate == other.generate
        && *inputs == other.inputs
        && *operands == other.operands
        && *truth == other.truth
}

/// How many elements of parameters `quantity` shows.
fn elements(quantity: &Quantity, parameters: &BTreeMap<String, usize>) -> usize {
    match quantity {
        Quantity::ParameterGradient(name) | Quantity::Weight(name) => {
            parameters.get(name).copied().unwrap_or_default()
        }
        _ => 0,
    }
}

/// The same for questions that may be merged; the comparison itself decides.
fn digest(planned: &PlannedRequest) -> u64 {
    let mut hasher = DefaultHasher::new();
    planned.role.hash(&mut hasher);
    planned.request.evaluation.hash(&mut hasher);
    for (name, tensor) in &planned.request.inputs {
        name.hash(&mut hasher);
        tensor.bytes().hash(&mut hasher);
    }
    hasher.finish()
}

fn shown(trace: &Trace, capture: &[Quantity]) -> Result<Trace, PluginError> {
    let values: BTreeMap<Quantity, Tensor> = capture
        .iter()
        .map(|quantity| {
            let value = trace.value(quantity).cloned();
            let value = value.ok_or_else(|| {
                PluginError::internal(format!("{quantity} was asked for and not shown"))
            })?;
            Ok((quantity.clone(), value))
        })
        .collect::<Result<_, PluginError>>()?;
    let is_shown = |quantity: &Quantity| values.contains_key(quantity) || is_output(quantity);
    let floors = trace.floors.iter();
    let floors = floors
        .filter(|(quantity, _)| is_shown(quantity))
        .map(|(quantity, floor)| (quantity.clone(), *floor))
        .collect();
    Ok(Trace { values, floors })
}

/// Whether it, and so its floor, may be worked out of others that were asked for.
fn is_output(quantity: &Quantity) -> bool {
    matches!(
        quantity,
        Quantity::Logits | Quantity::LogProbs | Quantity::LossPerToken | Quantity::Loss
    )
}
