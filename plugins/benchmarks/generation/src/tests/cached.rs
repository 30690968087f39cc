//! Runs in pieces through a cache.

use insta::assert_snapshot;
use serde_json::json;
use tlbench_sdk::{
    Benchmark, ErrorKind, ModelInfo, Padding, Quantity, Role, Severity, Stimulus, Trace, check_plan,
};

use super::model::{FLOOR, judge, large, line, logits, model, plain};
use crate::batched::BatchedGeneration;
use crate::cached::GenerationWithKvCache;

/// What is said when the logits through the cache are off by so many floors from a position on.
fn verdict(model: &ModelInfo, variant: &str, from: usize, floors: f64) -> tlbench_sdk::Verdict {
    judge(&GenerationWithKvCache, model, variant, &[], |planned| {
        let off = planned.role == Role::Subject;
        logits(planned.request.shape(), |at, _| {
            if off && at >= from {
                floors * FLOOR
            } else {
                0.0
            }
        })
    })
    .unwrap()
}

#[test]
fn an_input_is_cut_in_three_ways_that_add_up() {
    for pos in 2..12 {
        let mut model = model();
        model.stimuli = vec![plain("text", &[vec![1; pos]])];
        let checks = GenerationWithKvCache.plan(&model).unwrap();
        check_plan(&checks).unwrap();
        let cuts = checks.iter().map(|check| &check.requests[1].request.chunks);
        for chunks in cuts {
            assert_eq!(chunks.iter().sum::<usize>(), pos);
            assert!(
                chunks.len() > 1 && chunks.iter().all(|&len| len > 0),
                "{chunks:?}"
            );
        }
    }
    let checks = GenerationWithKvCache.plan(&model()).unwrap();
    let variants: Vec<&str> = checks.iter().map(|check| check.variant.as_str()).collect();
    assert_eq!(variants, ["text.steps", "text.prefilled", "text.in_chunks"]);
}

#[test]
fn of_a_large_model_each_way_is_tried_where_it_can_show_something_of_its_own() {
    let padded = |id: &str, padding| {
        let stimulus = Stimulus::from_rows(id, &[vec![1; 10], vec![2; 3]], padding, 0).unwrap();
        stimulus.showing([Quantity::Logits])
    };
    let mut model = large();
    model.stimuli = vec![
        plain("text", &[vec![1; 20]]),
        plain("full_context", &[vec![1; 32]]),
        padded("left_padded", Padding::Left),
        padded("right_padded", Padding::Right),
        plain("length_7", &[vec![1; 7]]),
    ];
    let planned = |model: &ModelInfo| {
        let checks = GenerationWithKvCache.plan(model).unwrap();
        check_plan(&checks).unwrap();
        let lines = checks.iter().map(|check| {
            let pieces = &check.requests[1].request.chunks;
            format!("{} {pieces:?}", check.variant)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(planned(&model), @"
    left_padded.steps [1, 1, 1, 1, 6]
    left_padded.prefilled [6, 1, 1, 1, 1]
    left_padded.in_chunks [3, 4, 3]
    right_padded.in_chunks [3, 4, 3]
    full_context.in_chunks [10, 11, 11]
    ");
    model.stimuli.truncate(2);
    assert_snapshot!(planned(&model), @"
    full_context.steps [1, 1, 1, 1, 28]
    full_context.prefilled [28, 1, 1, 1, 1]
    full_context.in_chunks [10, 11, 11]
    ");
}

#[test]
fn a_healthy_cache() {
    assert_snapshot!(line(&verdict(&model(), "text.steps", 0, 1.0)), @"INFO: logits through the cache match; worst error ratio: cumulative 1.00 (logits)");
}

#[test]
fn logits_that_are_wrong_from_a_position_on() {
    let verdict = verdict(&model(), "text.in_chunks", 5, 500.0);
    assert_snapshot!(line(&verdict), @"DANGER: first divergence at logits: cumulative error ratio 306");
    let details: Vec<String> = verdict
        .details
        .iter()
        .map(|detail| format!("{}: {}", detail.name, detail.value))
        .collect();
    assert_snapshot!(details.join("\n"), @"
    component: any up to here: none is wrong by itself as far as the input shows
    difference: rms 3.06e-4 (floor 1.00e-6, truth 2.92e0), relative L2 1.05e-4, largest 5.00e-4 at [0, 5, 1]
    pattern: only from position 5 on
    pieces: [2, 3, 3]
    first position beyond the gate: 5
    ");
}

#[test]
fn an_error_between_the_gates_is_a_warning_and_nan_a_failure() {
    let model = model();
    assert_eq!(
        verdict(&model, "text.steps", 0, 4.0).severity,
        Severity::Warning
    );
    let nan = verdict(&model, "text.steps", 6, f64::NAN);
    assert_snapshot!(line(&nan), @"DANGER: first divergence at logits: 20 elements are infinite or NaN on one side only (cumulative)");
}

#[test]
fn logits_of_fewer_positions() {
    let verdict = judge(
        &GenerationWithKvCache,
        &model(),
        "text.steps",
        &[],
        |planned| {
            let [batch, pos] = planned.request.shape();
            let pos = if planned.role == Role::Subject {
                pos - 1
            } else {
                pos
            };
            logits([batch, pos], |_, _| 0.0)
        },
    );
    assert_snapshot!(line(&verdict.unwrap()), @"DANGER: first divergence at logits: shape [1, 7, 10] where the truth has [1, 8, 10]");
}

/// A model whose positions depend on the length.
fn length_dependent() -> ModelInfo {
    let linear = |name: &str| json!({ "weight": { "names": [name], "shape": [2, 2] }, "bias": null, "tap": null });
    let layer = json!({
        "wiring": "sequential", "module": null, "mlp": null,
        "attn": { "input": "stream", "body": {
            "n_heads": 1, "n_kv_heads": 1, "d_head": 2,
            "q": linear("q"), "k": linear("k"), "v": linear("v"), "o": linear("o"),
            "position": { "rotary": {
                "dim": 2, "pairing": "half", "theta": 1e4,
                "scaling": { "dynamic": { "factor": 2.0, "original_n_ctx": 4 } },
            }},
            "scale": 1.0, "mask": { "band": { "back": null, "ahead": 0 } },
            "module": null, "port": "opaque",
        }},
    });
    let mut model = model();
    model.spec.layers = vec![serde_json::from_value(layer).unwrap()];
    model
}

#[test]
fn where_positions_depend_on_the_length_the_truth_is_the_reference_through_its_own_cache() {
    let mut model = length_dependent();
    let mut fed = plain("text_in_steps", &[vec![1; 8]]);
    fed.request.chunks = vec![1; 8];
    model.stimuli.push(fed);

    let checks = GenerationWithKvCache.plan(&model).unwrap();
    check_plan(&checks).unwrap();
    let [check] = &checks[..] else {
        panic!("{checks:?}");
    };
    assert_eq!(check.variant, "text_in_steps");
    let asked = check.requests.iter();
    let asked: Vec<_> = asked
        .map(|planned| (planned.role, planned.request.chunks.len()))
        .collect();
    assert_eq!(asked, [(Role::Reference, 8), (Role::Subject, 8)]);

    let verdict = |floors| line(&verdict(&model, "text_in_steps", 5, floors));
    assert_snapshot!(verdict(1.0), @"INFO: logits through the cache match; worst error ratio: cumulative 0.61 (logits)");
    assert_snapshot!(verdict(500.0), @"DANGER: first divergence at logits: cumulative error ratio 306");
}

#[test]
fn a_reference_that_shows_no_such_run_leaves_it_unverified() {
    let error = GenerationWithKvCache.plan(&length_dependent()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_snapshot!(error.message, @"the reference shows logits of an input in pieces on no input");
    let error = BatchedGeneration.plan(&length_dependent()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_snapshot!(error.message, @"positions depend on the total length, so a cached run legitimately differs");
}

#[test]
fn answers_that_are_missing_are_an_error() {
    let model = model();
    let check = &GenerationWithKvCache.plan(&model).unwrap()[0];
    let error = GenerationWithKvCache
        .judge(&model, check, &[Trace::default()])
        .unwrap_err();
    assert_snapshot!(error.message, @"1 answers to judge");
}

#[test]
fn one_token_cannot_be_cut() {
    let mut model = model();
    model.stimuli = vec![plain("single", &[vec![1]])];
    let error = GenerationWithKvCache.plan(&model).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_snapshot!(error.message, @"the reference shows logits of more than one token on no input");
}
