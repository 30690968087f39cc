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
