//! Scores that grow with the key's position, and those that grow otherwise.

use insta::assert_snapshot;
use serde_json::json;
use tlbench_sdk::{ModelInfo, Padding, Tensor, Trace, noise};

use super::model::{D_HEAD, HEADS, attending, judged, line, refusal, showing, trace};
use crate::alibi::AlibiSlopes;

const POS: usize = 7;
const HOOKS: [&str; 3] = [
    "blocks.0.attn.hook_q",
    "blocks.0.attn.hook_k",
    "blocks.0.attn.hook_attn_scores",
];
const SLOPES: [f64; HEADS] = [0.25, 0.0625];

fn biased() -> ModelInfo {
    let model = attending(&json!({ "position": { "alibi": { "slopes": SLOPES } } }));
    showing(model, &[POS], Padding::Right, &HOOKS)
}

/// Scores with these slopes, counted from the key or from the query.
fn shown(slopes: [f64; HEADS], is_by_distance: bool) -> Trace {
    let [q, k] = [1, 2].map(|seed| noise(seed, POS * HEADS * D_HEAD));
    let channels = |values: &[f64], pos: usize, head: usize| {
        let first = (pos * HEADS + head) * D_HEAD;
        values[first..first + D_HEAD].to_vec()
    };
    let mut scores = Vec::new();
    for (head, slope) in slopes.into_iter().enumerate() {
        for query in 0..POS {
            for key in 0..POS {
                let (q, k) = (channels(&q, query, head), channels(&k, key, head));
                let product: f64 = q.iter().zip(&k).map(|(q, k)| q * k).sum();
                let place = if is_by_distance {
                    key as f64 - query as f64
                } else {
                    key as f64
                };
                let score = 0.5 * product + slope * place;
                scores.push(if key > query {
                    f64::NEG_INFINITY
                } else {
                    score
                });
            }
        }
    }
    let heads = |values: Vec<f64>| Tensor::from_vec(values, &[1, POS, HEADS, D_HEAD]).unwrap();
    let scores = Tensor::from_vec(scores, &[1, HEADS, POS, POS]).unwrap();
    trace([
        (HOOKS[0], heads(q)),
        (HOOKS[1], heads(k)),
        (HOOKS[2], scores),
    ])
}

#[test]
fn the_slope_of_each_head_is_told_and_a_constant_does_not_count() {
    let model = biased();
    let wrong = [0.25, 0.125];
    let verdict = |reference, subject| line(judged(&AlibiSlopes, &model, reference, subject));
    let lines = [
        verdict(shown(SLOPES, false), shown(SLOPES, true)),
        verdict(shown(SLOPES, false), shown(wrong, false)),
        verdict(shown(wrong, false), shown(SLOPES, false)),
        verdict(shown(SLOPES, false), shown([0.25, 0.062_501], false)),
    ];
    assert_snapshot!(lines.join("\n"), @r"
    INFO: 1 of 1 tables of slopes are the spec's, in reference and subject; worst error ratio 0.00 (blocks.0.attn.hook_attn_scores)
    DANGER: the subject does not follow the spec at blocks.0.attn.hook_attn_scores: head 1 has the slope 0.125000 where the spec has 0.062500
    DANGER: the reference does not follow the spec at blocks.0.attn.hook_attn_scores: head 1 has the slope 0.125000 where the spec has 0.062500
    DANGER: the subject does not follow the spec at blocks.0.attn.hook_attn_scores: head 1 has the slope 0.062501 where the spec has 0.062500
    ");
}

#[test]
fn where_nothing_is_biased_or_shown_nothing_is_planned() {
    let mut hidden = biased();
    hidden.stimuli[0].request.capture.pop();
    let lines = [attending(&json!({})), hidden].map(|model| refusal(&AlibiSlopes, &model));
    assert_snapshot!(lines.join("\n"), @r"
    no block adds a linear bias to plain products of queries and keys
    the reference shows queries and keys together with their scores on no input
    ");
}
