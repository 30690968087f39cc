//! Asks each model each question once.
//!
//! Questions that differ only in what they show are merged into one pass, as long as that does not gather more weights or
//! gradients of parameters than memory should hold. An answer is kept until its last consumer has had it, unless it is of
//! many weights: those are there already, and are shown again to each who asks.

mod local_runs;

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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tlbench_sdk::{INPUT_IDS, SourceInfo};

    use super::*;

    /// Shows what it is asked for, and remembers what that was.
    #[derive(Default)]
    struct Parrot(Mutex<Vec<Vec<String>>>);

    impl TraceSource for Parrot {
        fn info(&self) -> SourceInfo {
            SourceInfo::default()
        }

        fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
            self.0
                .lock()
                .unwrap()
                .push(request.capture.iter().map(ToString::to_string).collect());
            let values = request
                .capture
                .iter()
                .map(|quantity| (quantity.clone(), Tensor::scalar(1.0)))
                .collect();
            Ok(Trace {
                values,
                ..Trace::default()
            })
        }
    }

    fn ask(role: Role, token: i64, capture: &[Quantity]) -> PlannedRequest {
        let inputs = [(INPUT_IDS.to_owned(), Tensor::vector(vec![token]))].into();
        let request = TraceRequest::new(inputs, capture.to_vec());
        match role {
            Role::Subject => PlannedRequest::subject(request),
            Role::ExactSubject => PlannedRequest::exact_subject(request),
            Role::Reference => PlannedRequest::reference(request),
        }
    }

    /// From `source` alone, whoever is asked.
    fn answers(source: &dyn TraceSource) -> Answers<'_> {
        let parties = Parties {
            subject: source,
            exact_subject: source,
            reference: source,
        };
        Answers::new(parties, BTreeMap::new())
    }

    #[test]
    fn one_pass_serves_all_who_ask_the_same() {
        let (subject, reference) = (Parrot::default(), Parrot::default());
        let mut answers = Answers::new(
            Parties {
                subject: &subject,
                exact_subject: &subject,
                reference: &reference,
            },
            BTreeMap::new(),
        );
        let hook = Quantity::hook("hook_embed");
        let planned = [
            ask(Role::Subject, 1, &[Quantity::Logits]),
            ask(Role::Subject, 1, &[hook.clone(), Quantity::Logits]),
            ask(Role::Subject, 2, &[Quantity::Logits]),
            ask(Role::Reference, 1, &[Quantity::Logits]),
        ];
        planned.iter().for_each(|request| answers.announce(request));
        let traces: Vec<Trace> = planned
            .iter()
            .map(|request| answers.take(request).unwrap())
            .collect();
        assert_eq!(
            traces[0].values.keys().collect::<Vec<_>>(),
            [&Quantity::Logits]
        );
        assert_eq!(traces[1].values.len(), 2);
        assert_eq!(
            *subject.0.lock().unwrap(),
            [
                vec!["logits".to_owned(), "hook:hook_embed".into()],
                vec!["logits".into()]
            ]
        );
        assert_eq!(reference.0.lock().unwrap().len(), 1);
        assert!(
            answers.questions.values().all(Vec::is_empty),
            "answers are freed after their last consumer"
        );
    }

    /// Knows nothing but logits.
    #[derive(Default)]
    struct Specialist(Parrot);

    impl TraceSource for Specialist {
        fn info(&self) -> SourceInfo {
            SourceInfo::default()
        }

        fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
            match request.capture.iter().find(|q| **q != Quantity::Logits) {
                Some(quantity) => Err(PluginError::unsupported(format!("no {quantity}"))),
                None => self.0.trace(request),
            }
        }
    }

    #[test]
    fn what_cannot_be_shown_costs_nobody_else_an_answer() {
        let source = Specialist::default();
        let mut answers = answers(&source);
        let planned = [
            ask(Role::Subject, 1, &[Quantity::Logits]),
            ask(Role::Subject, 1, &[Quantity::hook("nowhere")]),
            ask(Role::Subject, 1, &[Quantity::Generated]),
        ];
        planned.iter().for_each(|request| answers.announce(request));
        let answered = planned.each_ref().map(|request| {
            let answer = answers.take(request);
            answer
                .map(|trace| trace.values.len())
                .map_err(|error| error.message)
        });
        let expected = [
            Ok(1),
            Err("no hook:nowhere".into()),
            Err("no generated".into()),
        ];
        assert_eq!(answered, expected);
    }

    /// What is asked, in which order, by those who want `of` each of four parameters, beside the logits.
    fn asked_about_large(of: fn(&str) -> Quantity) -> Vec<Vec<String>> {
        let source = Parrot::default();
        let half = GATHERED / 2;
        let sizes = [("a", half), ("b", half), ("c", half)];
        let mut answers = Answers::new(
            Parties {
                subject: &source,
                exact_subject: &source,
                reference: &source,
            },
            sizes.map(|(name, size)| (name.to_owned(), size)).into(),
        );
        let planned =
            ["a", "b", "c", "a"].map(|name| ask(Role::Subject, 1, &[of(name), Quantity::Logits]));
        planned.iter().for_each(|request| answers.announce(request));
        for request in &planned {
            assert_eq!(answers.take(request).unwrap().values.len(), 2);
        }
        assert!(answers.questions.values().all(Vec::is_empty));
        let asked = source.0.lock().unwrap();
        asked.clone()
    }

    #[test]
    fn what_takes_as_much_memory_as_the_model_is_not_gathered() {
        let asked = asked_about_large(|name| Quantity::ParameterGradient(name.into()));
        let gathered = ["param_grad:a", "logits", "param_grad:b"];
        let other = ["param_grad:c", "logits"];
        assert_eq!(
            asked,
            [
                gathered.map(String::from).to_vec(),
                other.map(String::from).to_vec()
            ]
        );
    }

    #[test]
    fn what_shows_many_parameters_is_apart_from_what_shows_none() {
        let source = Parrot::default();
        let parties = answers(&source).parties;
        let large = [("a".to_owned(), MANY + 1), ("b".to_owned(), 1)];
        let mut answers = Answers::new(parties, large.into());
        let gradient = |name: &str| vec![Quantity::ParameterGradient(name.into())];
        let hook = vec![Quantity::hook("hook_embed")];
        let asked = [hook.clone(), gradient("a"), gradient("b"), hook];
        let planned = asked
            .each_ref()
            .map(|capture| ask(Role::Subject, 1, capture));
        planned.iter().for_each(|request| answers.announce(request));
        for request in &planned {
            answers.take(request).unwrap();
        }
        let asked = source.0.lock().unwrap();
        assert_eq!(
            *asked,
            [
                vec!["hook:hook_embed".to_owned(), "param_grad:b".into()],
                vec!["param_grad:a".into()]
            ]
        );
    }

    #[test]
    fn large_weights_are_shown_again_and_not_kept() {
        let asked = asked_about_large(|name| Quantity::Weight(name.into()));
        let each = ["a", "b", "c", "a"].map(|name| vec![format!("weight:{name}"), "logits".into()]);
        assert_eq!(asked, each);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_kept() {
        let source = Parrot::default();
        let mut answers = answers(&source);
        let hook = Quantity::hook("hook_embed");
        let planned = [
            ask(Role::Subject, 1, &[hook, Quantity::Logits]),
            ask(Role::Subject, 1, &[Quantity::Logits]),
        ];
        planned.iter().for_each(|request| answers.announce(request));
        answers.take(&planned[0]).unwrap();
        let kept = answers.questions.values().flatten();
        let kept = kept.filter_map(|question| question.answer.as_ref()?.as_ref().ok());
        let kept: Vec<_> = kept.flat_map(|trace| trace.values.keys()).collect();
        assert_eq!(kept, [&Quantity::Logits]);
    }

    #[test]
    fn a_repeated_question_is_computed_anew() {
        let source = Parrot::default();
        let mut answers = answers(&source);
        let once = ask(Role::Subject, 1, &[Quantity::Logits]);
        let planned = [once.clone(), once.clone(), once.again()];
        planned.iter().for_each(|request| answers.announce(request));
        for request in &planned {
            answers.take(request).unwrap();
        }
        assert_eq!(source.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_a_judgement_repeats_is_asked_after_all_before_it() {
        let source = Parrot::default();
        let mut answers = answers(&source);
        let again = ask(Role::Subject, 1, &[Quantity::Logits]).again();
        // Somebody else wants the same, and has been answered.
        for _ in 0..2 {
            answers.announce(&again);
        }
        answers.take(&again).unwrap();
        answers.follow_up(&again).unwrap();
        assert_eq!(source.0.lock().unwrap().len(), 2);
        answers.take(&again).unwrap();
        assert_eq!(source.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_local_run_serves_all_whose_judgement_leads_to_it() {
        let source = Parrot::default();
        let mut answers = answers(&source);
        let hook = Quantity::hook("hook_embed");
        let (both, hooks) = (vec![hook.clone(), Quantity::Logits], vec![hook]);
        let local = |capture: &[Quantity], truth: f64| {
            let mut planned = ask(Role::Subject, 1, capture);
            let truth = [("hook_embed".to_owned(), Tensor::scalar(truth))];
            planned.request = planned.request.local(truth.into());
            planned
        };
        let checks = [&both, &hooks, &hooks].map(|capture| ask(Role::Subject, 1, capture));
        checks.iter().for_each(|check| answers.announce(check));
        for (check, capture) in checks.iter().zip([&both, &hooks, &hooks]) {
            answers.take(check).unwrap();
            let shown = answers.follow_up(&local(capture, 1.0)).unwrap();
            assert_eq!(shown.values.len(), capture.len());
        }
        assert_eq!(source.0.lock().unwrap().len(), 2);
        // Another truth is another question, and so is one about what nobody has asked to see.
        answers.follow_up(&local(&hooks, 2.0)).unwrap();
        answers.follow_up(&local(&[Quantity::Loss], 1.0)).unwrap();
        assert_eq!(source.0.lock().unwrap().len(), 4);
        // Nobody waits for an answer about these inputs any more.
        answers.take(&ask(Role::Subject, 2, &hooks)).unwrap();
        answers.follow_up(&local(&hooks, 1.0)).unwrap();
        assert_eq!(source.0.lock().unwrap().len(), 6);
    }

    #[test]
    fn what_was_not_announced_is_shown_no_more_than_it_asked_for() {
        let source = Parrot::default();
        let mut answers = answers(&source);
        let trace = answers
            .take(&ask(Role::Subject, 1, &[Quantity::Logits]))
            .unwrap();
        assert_eq!(trace.values.len(), 1);
    }
}
