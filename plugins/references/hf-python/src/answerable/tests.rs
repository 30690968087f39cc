//! Questions that are asked as they are, in part, or not at all.

use tlbench_sdk::spec::HfTap;
use tlbench_sdk::{GenerateRequest, GradientRequest, INPUT_IDS, Objective, Padding, Processing};
use tlbench_sdk::{ProcessingStep, Quantity};

use super::*;

fn hooks() -> [HookPoint; 2] {
    [
        ("shown", Some(HfTap::output("root.shown"))),
        ("hidden", None),
    ]
    .map(|(name, hf_tap)| HookPoint {
        name: name.into(),
        shape: Vec::new(),
        order: 0,
        gate: None,
        hf_tap,
    })
}

fn text(rows: &[Vec<i64>], capture: &[Quantity]) -> Stimulus {
    let stimulus = Stimulus::from_rows("text", rows, Padding::Right, 0).unwrap();
    stimulus.showing(capture.iter().cloned())
}

fn zeroed(hook: &str) -> Intervention {
    Intervention::new(Target::Hook(hook.into()), Action::Zero)
}

fn edited(edits: Vec<Intervention>) -> Stimulus {
    let rows = [vec![1, 9], vec![2, 9], vec![3, 9], vec![4, 9]];
    let mut stimulus = text(&rows, &[Quantity::LossPerToken]);
    stimulus.request.interventions = edits;
    stimulus
}

fn asked(stimulus: Stimulus) -> Vec<Stimulus> {
    answerable(&[stimulus], &hooks(), DType::F32)
}

#[test]
fn hooks_without_a_tap_are_not_asked_for() {
    let mut stimulus = text(
        &[vec![1, 2]],
        &[
            Quantity::hook("shown"),
            Quantity::hook("hidden"),
            Quantity::HookGradient("hidden".into()),
            Quantity::HookGradient("shown".into()),
            Quantity::Logits,
        ],
    );
    stimulus.request.gradients = Some(GradientRequest {
        objective: Objective::Loss,
    });
    assert_eq!(
        asked(stimulus)[0].request.capture,
        [
            Quantity::hook("shown"),
            Quantity::HookGradient("shown".into()),
            Quantity::Logits
        ]
    );
    assert_eq!(asked(text(&[vec![1]], &[Quantity::hook("hidden")])), []);
}

#[test]
fn rows_with_an_edit_that_cannot_be_made_are_left_out() {
    let reduced = asked(edited(vec![
        zeroed("shown").at_rows([1]),
        zeroed("hidden").at_rows([2]),
        zeroed("shown").at_rows([2, 3]),
        zeroed("shown"),
    ]));
    let request = &reduced[0].request;
    assert_eq!(
        request.inputs[INPUT_IDS].as_slice::<i64>().unwrap(),
        [1, 9, 2, 9, 4, 9]
    );
    assert_eq!(
        request.interventions,
        [
            zeroed("shown").at_rows([1]),
            zeroed("shown").at_rows([2]),
            zeroed("shown")
        ]
    );
}

#[test]
fn a_question_that_loses_its_edits_is_not_asked() {
    assert_eq!(asked(edited(vec![zeroed("hidden")])), []);
    assert_eq!(asked(edited(vec![zeroed("hidden").at_rows([1])])), []);
    let added = Intervention {
        action: Action::Add {
            operand: "x".into(),
        },
        ..zeroed("shown").at_rows([2])
    };
    assert_eq!(
        asked(edited(vec![zeroed("hidden").at_rows([1]), added])),
        []
    );
}

#[test]
fn what_is_refused_says_why() {
    let plain = || text(&[vec![1, 2]], &[Quantity::Logits]).request;
    let with = |change: fn(&mut TraceRequest)| {
        let mut request = plain();
        change(&mut request);
        request
    };
    let generate = |sampling| {
        Some(GenerateRequest {
            max_new_tokens: 1,
            stop_tokens: vec![],
            use_cache: true,
            sampling,
        })
    };
    let generation = |sampling| TraceRequest {
        capture: vec![Quantity::Generated],
        generate: generate(sampling),
        ..plain()
    };
    let refused = [
        with(|request| {
            request.processing = [ProcessingStep::FoldLn].into_iter().collect::<Processing>();
        }),
        with(|request| request.evaluation = Evaluation::Local),
        with(|request| request.capture = vec![Quantity::HookGradient("shown".into())]),
        with(|request| request.capture = vec![Quantity::Weight("embed.W_E".into())]),
        with(|request| {
            request.chunks = vec![1, 1];
            request.capture = vec![Quantity::hook("shown")];
        }),
        with(|request| {
            request.chunks = vec![1, 1];
            request.interventions = vec![zeroed("shown")];
        }),
        with(|request| {
            let target = Target::HookGradient("shown".into());
            request.interventions = vec![Intervention::new(target, Action::Zero)];
        }),
        with(|request| {
            let target = Target::Weight("embed.W_E".into());
            request.interventions = vec![Intervention::new(target, Action::Zero)];
        }),
        TraceRequest {
            generate: generate(Sampling::Greedy),
            ..plain()
        },
        generation(Sampling::Temperature {
            temperature: 1.0,
            seed: 0,
        }),
    ];
    let mut said: Vec<String> = refused
        .iter()
        .map(|request| refusal(request, DType::F32).unwrap())
        .collect();
    said.push(refusal(&generation(Sampling::Greedy), DType::BF16).unwrap());
    insta::assert_snapshot!(said.join("\n"));
    for fine in [
        plain(),
        generation(Sampling::Greedy),
        with(|request| request.chunks = vec![1, 1]),
    ] {
        assert_eq!(refusal(&fine, DType::F32), None);
    }
}
