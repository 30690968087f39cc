//! Queries that see what they should, more, or less.

use insta::assert_snapshot;
use serde_json::json;
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{ATTENTION_MASK, ModelInfo, Padding, Severity, Tensor, Trace};

use super::model::{FLOOR, HEADS, attending, detail, judged, line, model, refusal, showing, trace};
use crate::mask_rows::MaskRows;

const ROWS: [usize; 2] = [6, 4];
const POS: usize = 6;
const SCORES: &str = "blocks.0.attn.hook_attn_scores";
const PATTERN: &str = "blocks.0.attn.hook_pattern";

fn windowed(padding: Padding, hooks: &[&str]) -> ModelInfo {
    let model = attending(&json!({ "mask": { "band": { "back": 2, "ahead": 0 } } }));
    showing(model, &ROWS, padding, hooks)
}

/// Scores or patterns under `mask`. Without `hides_padding` it is seen.
fn shown(model: &ModelInfo, hook: &'static str, mask: Mask, hides_padding: bool) -> Trace {
    let tokens = model.stimuli[0].request.inputs[ATTENTION_MASK]
        .as_slice::<i64>()
        .unwrap();
    let (seen, hidden) = if hook == SCORES {
        (0.5, f64::NEG_INFINITY)
    } else {
        (0.2, 0.0)
    };
    let mut values = Vec::new();
    for row in 0..ROWS.len() {
        for at in 0..HEADS * POS * POS {
            let (query, key) = (at / POS % POS, at % POS);
            let is_token = tokens[row * POS + key] != 0;
            let is_seen = mask.sees(query, key) && (is_token || !hides_padding);
            values.push(if is_seen { seen } else { hidden });
        }
    }
    trace([(
        hook,
        Tensor::from_vec(values, &[ROWS.len(), HEADS, POS, POS]).unwrap(),
    )])
}

fn verdict(hook: &'static str, padding: Padding, mask: Mask, hides_padding: bool) -> String {
    let model = windowed(padding, &[hook]);
    let right = shown(&model, hook, Mask::sliding(3), true);
    line(judged(
        &MaskRows,
        &model,
        right,
        shown(&model, hook, mask, hides_padding),
    ))
}

#[test]
fn the_first_query_that_sees_something_else_is_told_with_both_sets() {
    let ahead = Mask::Band {
        back: Some(2),
        ahead: Some(1),
    };
    let lines = [
        verdict(SCORES, Padding::Right, Mask::sliding(3), true),
        verdict(SCORES, Padding::Right, Mask::sliding(4), true),
        verdict(SCORES, Padding::Right, Mask::sliding(2), true),
        verdict(PATTERN, Padding::Right, ahead, true),
        verdict(PATTERN, Padding::Right, Mask::CAUSAL, true),
        verdict(PATTERN, Padding::Left, Mask::Chunked { size: 3 }, true),
        verdict(PATTERN, Padding::Left, Mask::sliding(3), false),
        // Queries that are padding see what they like, and no others see what is behind.
        verdict(PATTERN, Padding::Right, Mask::sliding(3), false),
    ];
    assert_snapshot!(lines.join("\n"), @r"
    INFO: 20 of 20 queries see the keys that they see in the reference
    DANGER: blocks.0.attn: query 3 of row 0, head 0, sees keys 0 to 3 where the reference sees keys 1 to 3
    DANGER: blocks.0.attn: query 2 of row 0, head 0, sees keys 1 to 2 where the reference sees keys 0 to 2
    DANGER: blocks.0.attn: query 0 of row 0, head 0, sees keys 0 to 1 where the reference sees key 0
    DANGER: blocks.0.attn: query 3 of row 0, head 0, sees keys 0 to 3 where the reference sees keys 1 to 3
    DANGER: blocks.0.attn: query 3 of row 0, head 0, sees key 3 where the reference sees keys 1 to 3
    DANGER: blocks.0.attn: query 2 of row 1, head 0, sees keys 0 to 2 where the reference sees key 2
    INFO: 20 of 20 queries see the keys that they see in the reference
    ");
}

#[test]
fn what_the_spec_says_stands_beside_it() {
    let model = windowed(Padding::Right, &[SCORES, PATTERN]);
    let right = shown(&model, SCORES, Mask::sliding(3), true);
    let wrong = shown(&model, SCORES, Mask::sliding(4), true);
    let verdict = judged(&MaskRows, &model, right, wrong).unwrap();
    assert_snapshot!(detail(&verdict, "by the spec's mask"), @"keys 1 to 3, less padding");
    assert_snapshot!(detail(&verdict, "wrong"), @"8 of 20 queries of the block");
    assert_eq!(
        verdict.first_divergence.unwrap().quantity.as_hook(),
        Some(SCORES)
    );
}

#[test]
fn a_weight_within_the_floor_may_be_rounded_to_0() {
    let model = windowed(Padding::Right, &[PATTERN]);
    let with_one = |weight: f64| {
        let mut trace = shown(&model, PATTERN, Mask::sliding(3), true);
        let pattern = trace.values.values_mut().next().unwrap();
        let mut values = pattern.to_f64_vec();
        values[0] = weight;
        *pattern = Tensor::from_vec(values, pattern.shape()).unwrap();
        trace
    };
    let severity = |weight| {
        judged(&MaskRows, &model, with_one(weight), with_one(0.0))
            .unwrap()
            .severity
    };
    assert_eq!(severity(FLOOR / 2.0), Severity::Info);
    assert_eq!(severity(FLOOR * 2.0), Severity::Danger);
}

#[test]
fn another_number_of_heads_is_told() {
    let model = windowed(Padding::Right, &[SCORES]);
    let right = shown(&model, SCORES, Mask::sliding(3), true);
    let mut odd = right.clone();
    let scores = odd.values.values_mut().next().unwrap();
    *scores = scores.reshaped(&[2, 1, 2 * POS, POS]).unwrap();
    assert_snapshot!(line(judged(&MaskRows, &model, right, odd)), @"DANGER: blocks.0.attn: expected shape [2, 2, 6, 6], found [2, 1, 12, 6]");
}

#[test]
fn without_attention_nothing_is_planned() {
    let without =
        model(json!({ "wiring": "sequential", "module": null, "attn": null, "mlp": null }));
    assert_snapshot!(refusal(&MaskRows, &showing(without, &ROWS, Padding::Right, &["hook_embed"])), @"the reference shows scores or patterns of attention on no input");
}
