//! Edits of weights: what they mean, and that nothing of them is left.

use tlbench_engine::Bridge;
use tlbench_sdk::{
    Action, DType, Intervention, Padding, Processing, Quantity, Target, Tensor, TraceRequest, noise,
};

use crate::model::{D_HEAD, D_MODEL, Small, ask, hook, logits};

const ROW: [i64; 4] = [3, 1, 4, 22];

fn edit(name: &str, action: Action) -> Intervention {
    Intervention::new(Target::Weight(name.into()), action)
}

fn question(edits: impl Into<Vec<Intervention>>, shown: &str) -> TraceRequest {
    let mut request = ask(&[ROW.to_vec()], Padding::Right, &[]);
    request.capture.push(Quantity::Weight(shown.into()));
    request.interventions = edits.into();
    request
}

fn shown(bridge: &Bridge, request: &TraceRequest, name: &str) -> Vec<f64> {
    let trace = bridge.run(request).unwrap();
    trace
        .value(&Quantity::Weight(name.into()))
        .unwrap()
        .to_f64_vec()
}

#[test]
fn an_edit_changes_the_rows_that_are_named_and_the_answer() {
    let bridge = Small::new().bridge(DType::F64);
    let name = "blocks.0.attn.W_V";
    let raw = shown(&bridge, &question([], name), name);
    let request = question([edit(name, Action::Zero).at_rows([1])], name);
    let edited = shown(&bridge, &request, name);
    let head = D_MODEL * D_HEAD;
    assert_eq!(edited[..head], raw[..head]);
    assert!(edited[head..2 * head].iter().all(|value| *value == 0.0));
    assert_eq!(edited[2 * head..], raw[2 * head..]);
    // Head 1 has its bias for a value at every position, and the others what they had.
    let mut seen = request;
    seen.capture = vec![Quantity::hook("blocks.0.attn.hook_v")];
    let values = hook(&bridge.run(&seen).unwrap(), "blocks.0.attn.hook_v").to_f64_vec();
    let bias = bridge
        .weights()
        .get("blocks.0.attn.b_V")
        .unwrap()
        .to_f64_vec();
    assert_eq!(values[D_HEAD..2 * D_HEAD], bias[D_HEAD..2 * D_HEAD]);
}

#[test]
fn every_action_does_what_it_does_to_a_hook() {
    let bridge = Small::new().bridge(DType::F64);
    let name = "blocks.1.mlp.b_in";
    let raw = shown(&bridge, &question([], name), name);
    let ones = Tensor::vector(vec![1.0_f64; raw.len()]);
    let rms = (raw.iter().map(|b| b * b).sum::<f64>() / raw.len() as f64).sqrt();
    let noise = noise(5, raw.len());
    let add = Action::Add {
        operand: "one".into(),
    };
    let replace = Action::Replace {
        operand: "ones".into(),
    };
    let perturb = Action::Perturb {
        seed: 5,
        relative: 0.5,
    };
    let expected: [(Action, Vec<f64>); 5] = [
        (Action::Zero, vec![0.0; raw.len()]),
        (
            Action::Scale { factor: -2.0 },
            raw.iter().map(|b| -2.0 * b).collect(),
        ),
        (add, raw.iter().map(|b| b + 1.0).collect()),
        (replace, vec![1.0; raw.len()]),
        (
            perturb,
            raw.iter()
                .zip(noise)
                .map(|(b, n)| b + 0.5 * rms * n)
                .collect(),
        ),
    ];
    for (action, expected) in expected {
        let mut request = question([edit(name, action.clone())], name);
        request
            .operands
            .insert("one".into(), Tensor::vector(vec![1.0_f64]));
        request.operands.insert("ones".into(), ones.clone());
        assert_eq!(shown(&bridge, &request, name), expected, "{action:?}");
    }
}

#[test]
fn a_canonical_name_unties_and_the_name_of_a_checkpoint_tensor_does_not() {
    let bridge = Small::new().bridge(DType::F64);
    let canonical = question([edit("embed.W_E", Action::Zero)], "unembed.W_U");
    assert!(
        shown(&bridge, &canonical, "unembed.W_U")
            .iter()
            .any(|value| *value != 0.0)
    );
    let stored = question([edit("wte", Action::Zero)], "unembed.W_U");
    assert!(
        shown(&bridge, &stored, "unembed.W_U")
            .iter()
            .all(|value| *value == 0.0)
    );
}

#[test]
fn edits_are_of_the_processed_weights_and_one_after_the_other() {
    let bridge = Small::new().bridge(DType::F64);
    let name = "blocks.0.attn.W_O";
    let twice = [
        edit(name, Action::Scale { factor: 3.0 }),
        edit(name, Action::Scale { factor: 0.5 }),
    ];
    let request = question(twice, name).processed(Processing::compat(bridge.spec()));
    let expected = bridge
        .compat()
        .unwrap()
        .weights()
        .get(name)
        .unwrap()
        .to_f64_vec();
    let expected: Vec<f64> = expected.iter().map(|value| 3.0 * value * 0.5).collect();
    assert_eq!(shown(&bridge, &request, name), expected);
}

#[test]
fn a_bias_that_the_model_does_not_have_counts_as_0() {
    let bridge = Small::new().bridge(DType::F64);
    let mut request = question(
        [edit(
            "unembed.b_U",
            Action::Add {
                operand: "one".into(),
            },
        )],
        "unembed.b_U",
    );
    request
        .operands
        .insert("one".into(), Tensor::vector(vec![1.0_f64]));
    let before = logits(&bridge.run(&question([], "unembed.b_U")).unwrap());
    let after = logits(&bridge.run(&request).unwrap());
    let moved = before
        .iter()
        .zip(after)
        .all(|(before, after)| (after - before - 1.0).abs() < 1e-12);
    assert!(moved);
}

#[test]
fn nothing_of_an_edit_is_left_whether_it_worked_or_not() {
    let bridge = Small::new().bridge(DType::F32);
    let name = "blocks.0.mlp.W_in";
    for processing in [Processing::raw(), Processing::compat(bridge.spec())] {
        let plain = question([], name).processed(processing.clone());
        let before = bridge.run(&plain).unwrap();
        let good = question([edit(name, Action::Zero)], name).processed(processing.clone());
        assert_ne!(bridge.run(&good).unwrap(), before);
        assert_eq!(bridge.run(&plain).unwrap(), before);
        let bad = [
            edit(name, Action::Zero),
            edit(
                name,
                Action::Replace {
                    operand: "none".into(),
                },
            ),
        ];
        bridge
            .run(&question(bad, name).processed(processing))
            .unwrap_err();
        assert_eq!(bridge.run(&plain).unwrap(), before);
    }
}

#[test]
fn what_cannot_be_edited_is_refused_by_name() {
    let bridge = Small::new().bridge(DType::F32);
    let name = "blocks.0.attn.b_Q";
    let compat = Processing::compat(bridge.spec());
    let wide = Action::Add {
        operand: "wide".into(),
    };
    let replace = Action::Replace {
        operand: "wide".into(),
    };
    let requests = [
        question([edit("blocks.2.attn.W_Q", Action::Zero)], name),
        question([edit("wte", Action::Zero)], name).processed(compat),
        question([edit(name, Action::Zero).at_positions([0])], name),
        question([edit(name, Action::Zero).at_rows([0, 3])], name),
        question([edit(name, wide)], name),
        question([edit(name, replace)], name),
        question([], "blocks.0.attn.W_X"),
    ];
    let messages = requests.map(|mut request| {
        request
            .operands
            .insert("wide".into(), Tensor::vector(vec![1.0_f64; 7]));
        bridge.run(&request).unwrap_err().to_string()
    });
    insta::assert_snapshot!(messages.join("\n"), @"
    blocks.2.attn.W_Q: expected a weight of this model, found none of that name
    wte: expected a weight of this model, found none of that name
    blocks.0.attn.b_Q: expected no positions, as a weight has none, found some
    blocks.0.attn.b_Q: expected an index below 3, found 3
    blocks.0.attn.b_Q: expected an operand that broadcasts to [3, 4], found shape [7]
    blocks.0.attn.b_Q: expected shape [3, 4], found [7]
    blocks.0.attn.W_X: expected a weight of this model, found none of that name
    ");
}
