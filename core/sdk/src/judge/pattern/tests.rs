use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::compare::{Axes, Difference, Region};
use crate::hooks::hooks;
use crate::result::{Divergence, Measurement, Severity};
use crate::spec::ModelSpec;
use crate::tensor::Tensor;
use crate::trace::Evaluation;

const FLOOR: f64 = 1e-7;
const ROWS: usize = 2;
const LENGTH: usize = 12;

/// Four query heads on two key heads of six channels, four of them rotated, and a window of six.
fn attention() -> Value {
    let projection = |shape: [usize; 2]| json!({ "weight": { "names": ["w"], "shape": shape }, "bias": null, "tap": null });
    let body = json!({
        "n_heads": 4, "n_kv_heads": 2, "d_head": 6, "scale": 0.5,
        "q": projection([24, 10]), "k": projection([12, 10]), "v": projection([12, 10]),
        "o": projection([10, 24]),
        "position": { "rotary": { "dim": 4, "pairing": "half", "theta": 1e4, "scaling": "none" } },
        "mask": { "band": { "back": 5, "ahead": 0 } }, "module": null, "port": "opaque",
    });
    json!({ "input": "stream", "body": body })
}

fn model(layers: &[Value]) -> ModelInfo {
    let tokens = json!({ "names": ["wte"], "shape": [7, 10] });
    let spec = json!({
        "architecture": "Windowed", "d_model": 10, "d_vocab": 7, "n_ctx": null,
        "embedding": { "tokens": tokens, "module": null },
        "layers": layers, "final_norm": null,
        "unembed": { "projection": { "weight": tokens, "bias": null, "tap": null }, "d_vocab_out": 7 },
    });
    let spec: ModelSpec = serde_json::from_value(spec).unwrap();
    let hooks = hooks(&spec);
    let model = json!({
        "name": "windowed", "subject": "bridge", "mode": "raw", "processing": [], "dtype": "f32",
        "spec": spec, "hooks": hooks, "parameters": [], "reference": "r", "tier": "hugging_face",
        "stimuli": [], "judging": "calibrated", "options": {},
    });
    serde_json::from_value(model).unwrap()
}

fn windowed() -> Value {
    json!({ "wiring": "sequential", "module": null, "attn": attention(), "mlp": null })
}

fn everywhere() -> Region {
    Region::new(&Tensor::from_vec(vec![1_i64; ROWS * LENGTH], &[ROWS, LENGTH]).unwrap()).unwrap()
}

/// What is said of a hook with this error, in units of the floor, at each place.
fn told(hook: &str, error: impl Fn(&[usize]) -> f64) -> String {
    told_of(hook, |place| (1.0, FLOOR * error(place)))
}

/// The same for a truth and an error at each place.
fn told_of(hook: &str, at: impl Fn(&[usize]) -> (f64, f64)) -> String {
    let model = model(&[windowed()]);
    let name = format!("blocks.0.{hook}");
    let point = model.hooks.iter().find(|point| point.name == name).unwrap();
    let shape = point.sizes(ROWS, LENGTH);
    let (mut truth, mut value) = (Vec::new(), Vec::new());
    for index in 0..shape.iter().product() {
        let (right, error) = at(&place_of(index, &shape));
        truth.push(right);
        value.push(right + error);
    }
    let tensor = |values: Vec<f64>| Tensor::from_vec(values, &shape).unwrap();
    let compared = Compared {
        value: &tensor(value),
        truth: &tensor(truth),
        axes: Axes::of_hook(point),
        region: &everywhere(),
    };
    pattern(&model, &Quantity::hook(&name), compared, FLOOR).join("; ")
}

fn place_of(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for (slot, size) in place.iter_mut().zip(shape).rev() {
        *slot = index % size;
        index /= size;
    }
    place
}

/// Far beyond the floor where it is so.
fn wrong(is_so: bool) -> f64 {
    if is_so { 1e4 } else { 0.5 }
}

#[test]
fn what_sets_wrong_rows_positions_heads_and_channels_apart() {
    type Case = (&'static str, fn(&[usize]) -> f64, &'static str);
    let cases: [Case; 19] = [
        ("hook_resid_post", |_| 1e4, ""),
        (
            "hook_resid_post",
            |at| wrong(at[0] == 1),
            "only in row 1 of 2",
        ),
        (
            "hook_resid_post",
            |at| wrong(at[1] == 0),
            "only at position 0",
        ),
        (
            "hook_resid_post",
            |at| wrong(at[1] >= 9),
            "only from position 9 on",
        ),
        (
            "hook_resid_post",
            |at| wrong(at[1] <= 3),
            "only up to position 3",
        ),
        (
            "hook_resid_post",
            |at| wrong([2, 5].contains(&at[1])),
            "only at positions 2, 5",
        ),
        (
            "hook_resid_post",
            |at| wrong(at[1] % 2 == 1),
            "only at 6 of 12 positions",
        ),
        (
            "hook_resid_post",
            |at| 20.0 * (1 + at[1]) as f64,
            "grows with the position",
        ),
        (
            "hook_resid_post",
            |at| 20.0 * (12 - at[1]) as f64,
            "shrinks with the position",
        ),
        (
            "hook_resid_post",
            |at| wrong(at[2] >= 5),
            "only in the second half of the channels",
        ),
        (
            "attn.hook_z",
            |at| wrong(at[1] >= 6),
            "only from position 6 on (the window of this block is 6)",
        ),
        (
            "attn.hook_z",
            |at| wrong(at[1] >= 5),
            "only from position 5 on (the window of this block is 6)",
        ),
        ("attn.hook_z", |at| wrong(at[2] == 1), "only in head 1"),
        (
            "attn.hook_z",
            |at| wrong(at[2] >= 2),
            "only in heads 2, 3 (KV head 1)",
        ),
        (
            "attn.hook_z",
            |at| wrong(at[3] < 4),
            "only at channels 0 to 3",
        ),
        ("attn.hook_k", |at| wrong(at[2] == 1), "only in KV head 1"),
        (
            "attn.hook_rot_q",
            |at| wrong(at[3] < 4),
            "only in the channels that are rotated",
        ),
        (
            "attn.hook_rot_q",
            |at| wrong(at[3] >= 4),
            "only in the channels that are not rotated",
        ),
        (
            "attn.hook_rot_k",
            |at| wrong(at[1] > 0),
            "only from position 1 on",
        ),
    ];
    for (hook, error, expected) in cases {
        assert_eq!(told(hook, error), expected, "{hook}");
    }
}

#[test]
fn several_are_told_in_the_order_of_the_dimensions() {
    let told = told("attn.hook_z", |at| {
        wrong(at[0] == 0 && at[1] >= 6 && at[2] == 3)
    });
    assert_eq!(
        told,
        "only in row 0 of 2; only from position 6 on (the window of this block is 6); only in head 3"
    );
}

#[test]
fn a_mask_is_told_by_the_distance_of_the_keys() {
    let scores = |wrong: fn(usize, usize) -> bool| {
        told_of("attn.hook_attn_scores", move |at| {
            let (query, key) = (at[2], at[3]);
            let hidden = key > query || key + 6 <= query;
            let truth = if hidden { f64::NEG_INFINITY } else { 1.0 };
            (
                truth,
                if wrong(query, key) {
                    f64::INFINITY
                } else {
                    0.0
                },
            )
        })
    };
    let ahead = scores(|query, key| key == query + 1);
    assert!(
        ahead.ends_with("only for keys 1 ahead of the query"),
        "{ahead}"
    );
    let window = scores(|query, key| key + 6 == query);
    assert_eq!(
        window,
        "only from position 6 on (the window of this block is 6); only for keys 6 back"
    );
}

#[test]
fn nothing_is_said_where_a_slice_is_neither_wrong_nor_right() {
    // Between the gates: seven times the floor.
    let error = |at: &[usize]| match at[2] {
        0 => 1e4,
        1 => 7.0,
        _ => 0.5,
    };
    assert_eq!(told("attn.hook_z", error), "");
}

fn local(hook: String, severity: Severity) -> Measurement {
    Measurement {
        quantity: Quantity::Hook(hook),
        evaluation: Evaluation::Local,
        ratio: 1.0,
        floor: FLOOR,
        severity,
        difference: Difference {
            rms: FLOOR,
            truth_rms: 1.0,
            max_abs: FLOOR,
            relative_l2: FLOOR,
            cosine: 1.0,
            rows: 12,
            elements: 12,
            mismatched: 0,
            worst: None,
            by_position: Vec::new(),
        },
        closeness: None,
        pattern: Vec::new(),
    }
}

#[test]
fn the_blocks_that_fail_and_what_sets_them_apart() {
    let mut full = windowed();
    full["attn"]["body"]["mask"] = json!({ "band": { "back": null, "ahead": 0 } });
    let layers = [windowed(), full.clone(), windowed(), full];
    let spec = model(&layers).spec;
    let told = |wrong: &[usize]| {
        let measured = (0..layers.len()).map(|block| {
            let severity = if wrong.contains(&block) {
                Severity::Danger
            } else {
                Severity::Info
            };
            local(format!("blocks.{block}.attn.hook_attn_scores"), severity)
        });
        let measured: Vec<Measurement> = measured.collect();
        let divergence = Divergence {
            quantity: Quantity::Hook(format!("blocks.{}.attn.hook_attn_scores", wrong[0])),
            evaluation: Evaluation::Local,
            ratio: 1e4,
            reason: String::new(),
        };
        failing_blocks(&spec, &measured, &divergence).unwrap()
    };
    assert_eq!(told(&[0, 1, 2, 3]), "each of the 4 blocks");
    assert_eq!(told(&[0, 2]), "blocks 0, 2 of 4: those with a window");
    assert_eq!(told(&[1, 3]), "blocks 1, 3 of 4: those without a window");
    assert_eq!(told(&[1, 2, 3]), "blocks 1 to 3 of 4");
    assert_eq!(told(&[3]), "block 3 of 4");
}

proptest! {
    /// Whichever heads are wrong, it is they that are named.
    #[test]
    fn a_permutation_of_heads_moves_the_heads_named(
        heads in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        count in 1_usize..4,
    ) {
        let mut wrong_heads = heads[..count].to_vec();
        let told = told("attn.hook_z", |at| wrong(wrong_heads.contains(&at[2])));
        wrong_heads.sort_unstable();
        let expected = format!("only in {}", wording::listed("head", &wrong_heads));
        prop_assert!(told.starts_with(&expected), "{}", told);
    }

    /// What is wrong by the floor is so in any unit.
    #[test]
    fn the_size_of_the_error_does_not_matter_beyond_the_gate(size in 11.0_f64..1e12, from in 1_usize..12) {
        let told = |size: f64| told("attn.hook_z", move |at| if at[1] >= from { size } else { 0.5 });
        prop_assert_eq!(told(size), told(1e4));
    }
}
