//! Queries and keys that are turned rightly, and wrongly.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tlbench_sdk::{ModelInfo, Padding, Severity, Tensor, Trace, noise};

use super::model::{D_HEAD, HEADS, attending, detail, judged, line, refusal, showing, trace};
use crate::rotary::RotaryFrequencies;

const POS: usize = 9;
const BEFORE: [&str; 2] = ["blocks.0.attn.hook_q", "blocks.0.attn.hook_k"];
const NORMED: [&str; 2] = [
    "blocks.0.attn.q_norm.hook_normalized",
    "blocks.0.attn.k_norm.hook_normalized",
];
const AFTER: [&str; 2] = ["blocks.0.attn.hook_rot_q", "blocks.0.attn.hook_rot_k"];

/// How a party turns.
#[derive(Clone, Copy)]
struct Turn {
    rates: [f64; 2],
    factor: f64,
    is_interleaved: bool,
}

/// As the spec below has it: four of six channels are turned, at 1 and 100^(-1/2) per position.
const RIGHT: Turn = Turn {
    rates: [1.0, 0.1],
    factor: 1.0,
    is_interleaved: false,
};

fn rotary(changes: &Value) -> ModelInfo {
    let rotary =
        json!({ "rotary": { "dim": 4, "pairing": "half", "theta": 100.0, "scaling": "none" } });
    let mut attention = json!({ "position": rotary });
    for (key, value) in changes.as_object().unwrap() {
        attention[key] = value.clone();
    }
    let model = attending(&attention);
    let before = if changes.get("qk_norm").is_some() {
        NORMED
    } else {
        BEFORE
    };
    showing(model, &[POS], Padding::Right, &[before, AFTER].concat())
}

fn normed() -> Value {
    let norm = json!({
        "norm": { "kind": "rms_norm", "eps": 1e-6, "gain": { "names": ["g"], "shape": [D_HEAD] }, "bias": null, "module": null },
        "extent": "head",
    });
    json!({ "qk_norm": { "q": norm, "k": norm, "order": "before_rotary" } })
}

fn turned(values: &[f64], turn: Turn) -> Vec<f64> {
    let mut values = values.to_vec();
    for (row, head) in values.chunks_mut(D_HEAD).enumerate() {
        let position = (row / HEADS) as f64;
        for (pair, rate) in turn.rates.iter().enumerate() {
            let (a, b) = match turn.is_interleaved {
                true => (2 * pair, 2 * pair + 1),
                false => (pair, pair + 2),
            };
            let (sin, cos) = (position * rate).sin_cos();
            let (x, y) = (head[a], head[b]);
            head[a] = turn.factor * (x * cos - y * sin);
            head[b] = turn.factor * (x * sin + y * cos);
        }
    }
    values
}

/// What a party shows, whose values become `between` before they are turned.
fn shown(before: [&'static str; 2], turn: Turn, between: impl Fn(usize, f64) -> f64) -> Trace {
    let tensor = |values: Vec<f64>| Tensor::from_vec(values, &[1, POS, HEADS, D_HEAD]).unwrap();
    let both = [0, 1].map(|side| {
        let values = noise(7 + side as u64, POS * HEADS * D_HEAD);
        let met: Vec<f64> = values
            .iter()
            .enumerate()
            .map(|(at, &x)| between(at % D_HEAD, x))
            .collect();
        [
            (before[side], tensor(values)),
            (AFTER[side], tensor(turned(&met, turn))),
        ]
    });
    trace(both.concat())
}

fn plainly(turn: Turn) -> Trace {
    shown(BEFORE, turn, |_, x| x)
}

fn verdict(reference: Turn, subject: Turn) -> String {
    let model = rotary(&json!({}));
    line(judged(
        &RotaryFrequencies,
        &model,
        plainly(reference),
        plainly(subject),
    ))
}

#[test]
fn who_turns_in_another_way_is_told_with_how() {
    let slow = Turn {
        rates: [1.0, 0.2],
        ..RIGHT
    };
    let long = Turn {
        factor: 1.25,
        ..RIGHT
    };
    let interleaved = Turn {
        is_interleaved: true,
        ..RIGHT
    };
    let weak = Turn {
        rates: [1.0, 0.100_001],
        ..RIGHT
    };
    let lines = [
        verdict(RIGHT, RIGHT),
        verdict(RIGHT, slow),
        verdict(slow, RIGHT),
        verdict(slow, slow),
        verdict(RIGHT, long),
        verdict(RIGHT, interleaved),
        verdict(RIGHT, weak),
    ];
    assert_snapshot!(lines.join("\n"), @r"
    INFO: 2 of 2 tables of angle rates are the spec's, in reference and subject; worst error ratio 0.00 (blocks.0.attn.hook_rot_k)
    DANGER: the subject does not follow the spec at blocks.0.attn.hook_rot_q: pair 1 turns by 0.200000 per position where the formula gives 0.100000
    DANGER: the reference does not follow the spec at blocks.0.attn.hook_rot_q: pair 1 turns by 0.200000 per position where the formula gives 0.100000
    DANGER: the reference does not follow the spec at blocks.0.attn.hook_rot_q: pair 1 turns by 0.200000 per position where the formula gives 0.100000
    DANGER: the subject does not follow the spec at blocks.0.attn.hook_rot_q: it stretches by 1.2500 where the formula gives 1.0000
    DANGER: the subject does not follow the spec at blocks.0.attn.hook_rot_q: it turns the pairs (0, 1), (2, 3), .. where the spec has (0, 2), (1, 3), ..
    DANGER: the subject does not follow the spec at blocks.0.attn.hook_rot_q: pair 1 turns by 0.100001 per position where the formula gives 0.100000
    ");
}

#[test]
fn the_one_at_fault_is_named() {
    let model = rotary(&json!({}));
    let slow = Turn {
        rates: [1.0, 0.2],
        ..RIGHT
    };
    let at_fault = |reference, subject| {
        let verdict = judged(
            &RotaryFrequencies,
            &model,
            plainly(reference),
            plainly(subject),
        );
        detail(&verdict.unwrap(), "at fault")
    };
    let lines = [
        at_fault(RIGHT, slow),
        at_fault(slow, RIGHT),
        at_fault(slow, slow),
    ];
    assert_snapshot!(lines.join("\n"), @r"
    the subject: the reference follows the spec
    the spec, which the subject follows
    not told: neither follows the spec
    ");
}

#[test]
fn a_gain_behind_a_norm_is_no_rotation() {
    let model = rotary(&normed());
    let gain = |channel: usize, x: f64| x * (0.5 + 0.3 * channel as f64);
    let normed = |turn| shown(NORMED, turn, gain);
    let slow = Turn {
        rates: [1.0, 0.2],
        ..RIGHT
    };
    let lines = [RIGHT, slow].map(|turn| {
        line(judged(
            &RotaryFrequencies,
            &model,
            normed(RIGHT),
            normed(turn),
        ))
    });
    assert_snapshot!(lines.join("\n"), @r"
    INFO: 2 of 2 tables of angle rates are the spec's, in reference and subject; worst error ratio 0.00 (blocks.0.attn.hook_rot_k)
    DANGER: the subject does not follow the spec at blocks.0.attn.hook_rot_q: pair 1 turns by 0.200000 per position where the formula gives 0.100000
    ");
}

#[test]
fn what_is_clipped_before_it_is_turned_is_no_rotation() {
    let model = rotary(&json!({ "clip_qkv": 0.5 }));
    let clipped = || shown(BEFORE, RIGHT, |_, x| x.clamp(-0.5, 0.5));
    let verdict = judged(&RotaryFrequencies, &model, clipped(), clipped()).unwrap();
    assert_eq!(verdict.severity, Severity::Info);
}

#[test]
fn where_nothing_is_turned_or_shown_nothing_is_planned() {
    let unturned = attending(&json!({}));
    let mut hidden = rotary(&json!({}));
    hidden.stimuli[0].request.capture.truncate(2);
    let lines = [unturned, hidden].map(|model| refusal(&RotaryFrequencies, &model));
    assert_snapshot!(lines.join("\n"), @r"
    no block turns queries and keys behind a hook that shows them
    the reference shows queries or keys before and behind their rotation on no input
    ");
}

#[test]
fn values_of_another_shape_are_an_error() {
    let model = rotary(&json!({}));
    let mut odd = plainly(RIGHT);
    for value in odd.values.values_mut() {
        *value = value.reshaped(&[1, POS * HEADS, 2, 3]).unwrap();
    }
    assert_snapshot!(line(judged(&RotaryFrequencies, &model, plainly(RIGHT), odd)), @"ERROR: blocks.0.attn.hook_rot_q: expected heads of at least 4 channels at 9 tokens, found [1, 18, 2, 3] behind [1, 18, 2, 3]");
}
