//! The same numbers as HuggingFace's.

use std::collections::BTreeMap;

use serde::Deserialize;
use tlbench_sdk::spec::{Activation, Mask, Pairing, PositionSpec, RotarySpec};
use tlbench_sdk::{ModelSpec, Padding, Quantity, TraceRequest};

use super::{FEATURES, spec_of};
use crate::tests::small::{Small, question};

/// Both compute in f64; the answers have 15 digits.
const SAME: f64 = 1e-12;

/// Where the answers are Bloom's, whose GELU has the root of 2 / pi with eight digits.
const SAME_TO_EIGHT_DIGITS: f64 = 1e-9;

fn allowed(spec: &ModelSpec) -> f64 {
    match spec.architecture.as_str() {
        "Bloom" => SAME_TO_EIGHT_DIGITS,
        _ => SAME,
    }
}

/// `answers.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answers {
    /// By feature, at the end of each row.
    logits: BTreeMap<String, [Vec<f64>; 2]>,
    /// By feature, cosines and sines at the end of the longer row.
    rotations: BTreeMap<String, [Vec<f64>; 2]>,
    /// `x` where a query, down, sees a key.
    chunked_mask: Vec<String>,
    /// Gate, up, and what comes out.
    clamped_swiglu: Vec<[f64; 3]>,
}

fn answers() -> Answers {
    serde_json::from_str(include_str!("answers.json")).unwrap()
}

const LENGTH: usize = 7;

/// The longer row first, as in `make.py`.
fn rows(capture: Vec<Quantity>) -> TraceRequest {
    let rows = [vec![3, 1, 4, 1, 5, 9, 2], vec![6, 5, 3, 5]];
    question(&rows, Padding::Left, capture)
}

/// How far the last logits of each row are from HuggingFace's, where the rows are fed in `chunks`.
fn error(spec: ModelSpec, chunks: Vec<usize>, expected: &[Vec<f64>; 2]) -> f64 {
    let request = TraceRequest {
        chunks,
        ..rows(vec![Quantity::Logits])
    };
    let logits = Small::of(spec).exact(&request, &Quantity::Logits);
    let width = *logits.shape().last().unwrap();
    let logits = logits.to_f64_vec();
    let last = |row: usize| ((row + 1) * LENGTH - 1) * width;
    let errors = expected.iter().enumerate().flat_map(|(row, expected)| {
        assert_eq!(expected.len(), width);
        let found = &logits[last(row)..];
        found.iter().zip(expected).map(|(a, b)| (a - b).abs())
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn every_feature_gives_the_logits_of_the_model_that_has_it() {
    let answers = answers().logits;
    let wrong = FEATURES.iter().filter_map(|(name, spec)| {
        let spec = spec();
        let allowed = allowed(&spec);
        let error = error(spec, Vec::new(), &answers[*name]);
        (error > allowed).then(|| format!("{name}: {error:e}"))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn through_the_cache_the_logits_are_those_of_the_model_through_its_own() {
    let answers = answers().logits;
    let fed = answers
        .iter()
        .filter_map(|(name, expected)| Some((name.strip_suffix(" in pieces")?, expected)));
    let mut names = Vec::new();
    for (name, expected) in fed {
        let spec = spec_of(name);
        let allowed = allowed(&spec);
        let error = error(spec, vec![3, 4], expected);
        assert!(error <= allowed, "{name}: {error:e}");
        names.push(name);
    }
    assert_eq!(names, ["alibi", "dynamic", "longrope", "rotary", "window"]);
}

#[test]
fn every_answer_is_asked_for() {
    let answers = answers();
    let names = answers.logits.keys().chain(answers.rotations.keys());
    for name in names.filter(|name| !name.ends_with(" in pieces")) {
        assert!(FEATURES.iter().any(|(known, _)| known == name), "{name}");
    }
}

/// Cosine and sine by which each pair of channels turned between `before` and `after`, times their factor.
fn turned(rotary: &RotarySpec, before: &[f64], after: &[f64]) -> Vec<[f64; 2]> {
    let half = rotary.dim / 2;
    let pair = |nth: usize| match rotary.pairing {
        Pairing::Half => [nth, nth + half],
        Pairing::Interleaved => [2 * nth, 2 * nth + 1],
    };
    let turn = |nth| {
        let [[a, b], [c, d]] = [before, after].map(|x| pair(nth).map(|channel| x[channel]));
        let size = a * a + b * b;
        [(a * c + b * d) / size, (a * d - b * c) / size]
    };
    (0..half).map(turn).collect()
}

#[test]
fn every_pair_of_channels_turns_by_the_angle_of_huggingfaces_table_and_the_rest_stays() {
    for (name, [cosines, sines]) in answers().rotations {
        let spec = spec_of(&name);
        let body = &spec.layers[0].attn.as_ref().unwrap().body;
        let PositionSpec::Rotary(rotary) = &body.position else {
            panic!("{name} has a rotation");
        };
        let model = Small::of(spec.clone());
        let last_head = |hook: &str| {
            let quantity = Quantity::hook(format!("blocks.0.attn.{hook}"));
            let heads = model.exact(&rows(vec![quantity.clone()]), &quantity);
            heads.to_f64_vec()[(LENGTH * body.n_heads - 1) * body.d_head..][..body.d_head].to_vec()
        };
        let (before, after) = (last_head("hook_q"), last_head("hook_rot_q"));
        if body.qk_norm.is_some() || body.clip_qkv.is_some() {
            // What is turned is not what the hook shows.
            continue;
        }
        let turns = turned(rotary, &before, &after);
        for (nth, turn) in turns.iter().enumerate() {
            // HuggingFace repeats the series: neighbours share an angle, or halves do.
            let channel = match rotary.pairing {
                Pairing::Half => nth,
                Pairing::Interleaved => 2 * nth,
            };
            let error = (turn[0] - cosines[channel]).hypot(turn[1] - sines[channel]);
            assert!(error < SAME, "{name}, pair {nth}: {error:e}");
        }
        assert_eq!(after[rotary.dim..], before[rotary.dim..], "{name}");
    }
}

#[test]
fn a_query_sees_the_keys_of_its_own_chunk() {
    let expected = answers().chunked_mask;
    let mut spec = spec_of("rotary");
    spec.layers[0].attn.as_mut().unwrap().body.mask = Mask::Chunked { size: 3 };
    let scores = Quantity::hook("blocks.0.attn.hook_attn_scores");
    // The second row is padded, and HF's chunks begin behind that.
    let (row, padding) = (vec![3, 1, 4, 1, 5, 9, 2], 2);
    let rows = [row.clone(), row[padding..].to_vec()];
    let request = question(&rows, Padding::Left, vec![scores.clone()]);
    let scores = Small::of(spec).exact(&request, &scores).to_f64_vec();
    let sight = |keys: &[f64]| -> String {
        let seen = keys
            .iter()
            .map(|score| if score.is_finite() { 'x' } else { '.' });
        seen.collect()
    };
    let heads = scores.chunks(LENGTH).map(sight).collect::<Vec<_>>();
    let (whole, padded) = heads.split_at(heads.len() / 2);
    for head in whole.chunks(LENGTH) {
        assert_eq!(head, expected);
    }
    let shifted = |keys: &String| format!("{}{}", ".".repeat(padding), &keys[..LENGTH - padding]);
    let behind: Vec<String> = expected[..LENGTH - padding].iter().map(shifted).collect();
    for head in padded.chunks(LENGTH) {
        assert_eq!(head[padding..], behind);
    }
}

#[test]
fn a_clamped_swiglu_is_that_of_gpt_oss() {
    let activation = Activation::ClampedSwiglu {
        alpha: 1.702,
        limit: 7.0,
    };
    for [gate, up, expected] in answers().clamped_swiglu {
        let [gate, up] = [gate, up]
            .map(|value| candle_core::Tensor::new(&[value], &candle_core::Device::Cpu).unwrap());
        let found = crate::model::activate_gated(&gate, &up, activation).unwrap();
        let found = found.to_vec1::<f64>().unwrap()[0];
        assert!((found - expected).abs() < SAME, "{found} for {expected}");
    }
}
