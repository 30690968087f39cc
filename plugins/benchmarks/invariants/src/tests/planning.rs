//! What is asked, and where an invariant does not apply.

use insta::assert_snapshot;
use serde_json::{Value, json};
use tlbench_sdk::spec::LayerSpec;
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, ErrorKind, INPUT_IDS, ModelInfo, POSITION_IDS, Padding, Parameter,
    Quantity, Role, Stimulus, Tensor, check_plan,
};

use super::invariants::ALL;
use super::model::{Fault, judge, line, model, plain};
use crate::causality::{Causality, Prefix};
use crate::determinism::Determinism;
use crate::loss::LossIdentity;
use crate::mask::AbsentMask;
use crate::rows::{BatchRows, PaddingChangesNothing};

fn refusal(benchmark: &dyn Benchmark, model: &ModelInfo) -> String {
    let error = benchmark.plan(model).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    error.message
}

/// The model with one layer of attention of this mask and position.
fn attending(mask: &Value, position: &Value) -> ModelInfo {
    let linear = |name: &str| json!({ "weight": { "names": [name], "shape": [2, 2] }, "bias": null, "tap": null });
    let layer: LayerSpec = serde_json::from_value(json!({
        "wiring": "sequential", "module": null, "mlp": null,
        "attn": { "input": "stream", "body": {
            "n_heads": 1, "n_kv_heads": 1, "d_head": 2,
            "q": linear("q"), "k": linear("k"), "v": linear("v"), "o": linear("o"),
            "position": position, "scale": 1.0, "mask": mask,
            "module": null, "port": "opaque",
        }},
    }))
    .unwrap();
    let mut model = model();
    model.spec.layers = vec![layer];
    model
}

fn causal() -> Value {
    json!({ "band": { "back": null, "ahead": 0 } })
}

/// The token ids of each question of the first check.
fn asked(benchmark: &dyn Benchmark, model: &ModelInfo) -> Vec<Vec<i64>> {
    let checks = benchmark.plan(model).unwrap();
    check_plan(&checks).unwrap();
    let ids = checks[0]
        .requests
        .iter()
        .map(|planned| &planned.request.inputs[INPUT_IDS]);
    ids.map(|ids| ids.as_slice::<i64>().unwrap().to_vec())
        .collect()
}

#[test]
fn tokens_are_changed_behind_the_first_the_middle_and_before_the_last() {
    let whole = vec![1, 2, 3, 4, 5, 6];
    assert_eq!(
        asked(&Causality, &model()),
        [
            whole.clone(),
            whole,
            vec![1, 3, 4, 5, 6, 7],
            vec![1, 2, 3, 5, 6, 7],
            vec![1, 2, 3, 4, 5, 7],
        ]
    );
}

#[test]
fn a_prefix_has_positions_and_a_mask_of_its_own() {
    let whole = vec![1, 2, 3, 4, 5, 6];
    let prefixes = [
        whole.clone(),
        whole,
        vec![1],
        vec![1, 2, 3],
        vec![1, 2, 3, 4, 5],
    ];
    assert_eq!(asked(&Prefix, &model()), prefixes);
    let check = &Prefix.plan(&model()).unwrap()[0];
    for name in [ATTENTION_MASK, POSITION_IDS] {
        assert_eq!(check.requests[3].request.inputs[name].shape(), [1, 3]);
    }
}

#[test]
fn two_tokens_are_cut_once() {
    let mut model = model();
    model.stimuli = vec![plain("two", &[vec![1, 9]], Padding::Right)];
    assert_eq!(
        asked(&Causality, &model),
        [vec![1, 9], vec![1, 9], vec![1, 0]]
    );
}

#[test]
fn of_a_large_model_one_input_with_and_one_without_padding_is_asked_about_anew() {
    let mut model = model();
    model.parameters = vec![Parameter {
        name: "wte".into(),
        shape: vec![17, 1 << 20],
    }];
    let single = plain("single", &[vec![1]], Padding::Right);
    model.stimuli.insert(0, single);
    let longer = plain("longer", &[vec![1, 2, 3, 4, 5, 6, 7]], Padding::Right);
    model.stimuli.push(longer);
    let planned = |benchmark: &dyn Benchmark| {
        let checks = benchmark.plan(&model).unwrap();
        let variants = checks.iter().map(|check| check.variant.as_str());
        let variants: Vec<&str> = variants.collect();
        format!("{}: {}", benchmark.info().id, variants.join(", "))
    };
    assert_snapshot!(ALL.map(planned).join("\n"), @"
    causality: text
    prefix: text
    batch_rows: text
    padding: left_padded, right_padded
    absent_mask: text
    determinism: text, left_padded
    loss_identity: text, left_padded, right_padded, longer
    ");
    let whole = vec![1, 2, 3, 4, 5, 6];
    assert_eq!(
        asked(&Causality, &model),
        [whole.clone(), whole, vec![1, 2, 3, 5, 6, 7]]
    );
    let check = &Prefix.plan(&model).unwrap()[0];
    let verdict = |fault| line(judge(&Prefix, &model, check, fault));
    assert_snapshot!(verdict(Fault::None), @"INFO: prefixes match; worst error ratio: cumulative 0.00 (logits)");
    assert_snapshot!(verdict(Fault::KnowsTheLength), @"DANGER: the first 3 tokens give other logits alone than before others: cumulative error ratio 3.2e6");
}

#[test]
fn padded_rows_are_asked_alone_and_those_of_padding_are_not() {
    let mut model = model();
    model.stimuli = vec![plain(
        "batch",
        &[vec![1, 2], vec![], vec![3]],
        Padding::Left,
    )];
    let alone = &asked(&PaddingChangesNothing, &model)[2..];
    assert_eq!(alone, [vec![1, 2], vec![3]]);
}

#[test]
fn padding_between_tokens_is_not_on_a_side() {
    let mut model = model();
    model.stimuli = vec![plain(
        "batch",
        &[vec![1, 2, 3], vec![4, 5, 6]],
        Padding::Left,
    )];
    let inputs = &mut model.stimuli[0].request.inputs;
    let mask = Tensor::from_vec(vec![1_i64, 0, 1, 0, 1, 1], &[2, 3]).unwrap();
    inputs.insert(ATTENTION_MASK.to_owned(), mask);
    let alone = &asked(&PaddingChangesNothing, &model)[2..];
    assert_eq!(alone, [vec![5, 6]]);
    let inputs = &mut model.stimuli[0].request.inputs;
    let mask = Tensor::from_vec(vec![1_i64, 0, 1, 0, 0, 0], &[2, 3]).unwrap();
    inputs.insert(ATTENTION_MASK.to_owned(), mask);
    assert_snapshot!(refusal(&PaddingChangesNothing, &model), @"the reference shows the logits of rows that are padded on a side on no input");
}

#[test]
fn a_row_is_put_beside_one_that_differs_in_every_token() {
    let mut model = model();
    model.stimuli = vec![plain("palindrome", &[vec![1, 9, 1]], Padding::Right)];
    assert_eq!(
        asked(&BatchRows, &model)[1..],
        [
            vec![1, 9, 1],
            vec![1, 9, 1, 2, 0, 2],
            vec![2, 0, 2, 1, 9, 1]
        ]
    );
}

#[test]
fn a_single_row_with_padding_is_left_to_the_benchmark_of_padding() {
    let mut model = model();
    let padded = plain("padded", &[vec![1, 2, 3], vec![4]], Padding::Left);
    let mut request = padded.request;
    for tensor in request.inputs.values_mut() {
        *tensor = tensor.row(1).unwrap();
    }
    model.stimuli[1] = Stimulus { request, ..padded };
    model.stimuli.remove(0);
    assert_snapshot!(refusal(&BatchRows, &model), @"the reference shows the logits of a single row on no input");
    assert_snapshot!(refusal(&Causality, &model), @"the reference shows the logits of more than one token on no input");
    assert_eq!(asked(&PaddingChangesNothing, &model)[2..], [vec![4]]);
}

#[test]
fn a_token_without_one_before_it_has_no_loss() {
    let mut model = model();
    model.stimuli = vec![plain(
        "first_tokens",
        &[vec![1, 2], vec![3]],
        Padding::Right,
    )];
    assert!(LossIdentity.plan(&model).is_ok());
    let mask = Tensor::from_vec(vec![1_i64, 0, 1, 0], &[2, 2]).unwrap();
    let inputs = &mut model.stimuli[0].request.inputs;
    inputs.insert(ATTENTION_MASK.to_owned(), mask);
    assert_snapshot!(refusal(&LossIdentity, &model), @"the reference shows the loss of a token beside the logits on no input");
}

#[test]
fn a_reference_without_a_loss() {
    let mut model = model();
    for stimulus in &mut model.stimuli {
        stimulus.request.capture = vec![Quantity::Logits];
    }
    assert_snapshot!(refusal(&LossIdentity, &model), @"the reference shows the loss of a token beside the logits on no input");
}

#[test]
fn the_same_question_is_answered_anew() {
    let checks = Determinism.plan(&model()).unwrap();
    check_plan(&checks).unwrap();
    for check in &checks {
        let [once, again] = &check.requests[..] else {
            panic!("{} questions", check.requests.len())
        };
        assert_eq!(once.request, again.request);
        assert_eq!((once.repetition, again.repetition), (0, 1));
    }
}

#[test]
fn without_an_attention_mask_the_rest_of_the_question_is_the_same() {
    let checks = AbsentMask.plan(&model()).unwrap();
    assert_eq!(
        checks.len(),
        1,
        "padded inputs mean something without a mask"
    );
    let without = &checks[0].requests[2].request;
    assert!(!without.inputs.contains_key(ATTENTION_MASK));
    assert!(without.inputs.contains_key(POSITION_IDS));
}

#[test]
fn attention_that_sees_ahead_is_not_causal() {
    let model = attending(
        &json!({ "band": { "back": null, "ahead": null } }),
        &json!("none"),
    );
    assert_snapshot!(refusal(&Causality, &model), @"attention is not causal");
    assert_eq!(refusal(&Causality, &model), refusal(&Prefix, &model));
    assert!(
        Causality
            .plan(&attending(&causal(), &json!("none")))
            .is_ok()
    );
}

/// A model whose positions depend on the length, which is asked about an input and the beginning of it.
fn length_dependent() -> ModelInfo {
    let dynamic = json!({ "rotary": {
        "dim": 2, "pairing": "half", "theta": 1e4,
        "scaling": { "dynamic": { "factor": 2.0, "original_n_ctx": 4 } },
    }});
    let mut model = attending(&causal(), &dynamic);
    let beginning = plain("beginning", &[vec![1, 2, 3]], Padding::Right);
    model.stimuli.push(beginning);
    model
}

#[test]
fn where_positions_depend_on_the_length_padding_says_nothing_and_other_tokens_do() {
    let model = length_dependent();
    assert_snapshot!(refusal(&PaddingChangesNothing, &model), @"positions depend on the total length, so a longer row legitimately changes the ones beside it");
    for as_long in [&Causality as &dyn Benchmark, &BatchRows] {
        assert!(as_long.plan(&model).is_ok(), "{}", as_long.info().id);
    }
}

#[test]
fn where_positions_depend_on_the_length_a_prefix_is_held_to_the_reference() {
    let mut model = length_dependent();
    let checks = Prefix.plan(&model).unwrap();
    let [check] = &checks[..] else {
        panic!("{checks:?}");
    };
    assert_eq!(check.variant, "beginning");
    let roles: Vec<Role> = check.requests.iter().map(|asked| asked.role).collect();
    assert_eq!(roles, [Role::Reference, Role::Subject]);
    let verdict = |fault| line(judge(&Prefix, &model, check, fault));
    assert_snapshot!(verdict(Fault::None), @"INFO: prefixes match; worst error ratio: cumulative 0.00 (logits)");
    assert_snapshot!(verdict(Fault::KnowsTheLength), @"DANGER: the first 3 tokens give other logits alone than the reference's: cumulative error ratio 3.2e6");

    model.stimuli.pop();
    assert_snapshot!(refusal(&Prefix, &model), @"the reference shows the logits of a prefix of another input on no input");
}

#[test]
fn a_single_token_is_too_short() {
    let mut model = model();
    model.stimuli = vec![plain("single", &[vec![1]], Padding::Right)];
    assert_snapshot!(refusal(&Causality, &model), @"the reference shows the logits of more than one token on no input");
    assert_snapshot!(refusal(&LossIdentity, &model), @"the reference shows the loss of a token beside the logits on no input");
    assert_snapshot!(refusal(&PaddingChangesNothing, &model), @"the reference shows the logits of rows that are padded on a side on no input");
}

#[test]
fn batches_alone_leave_no_single_row() {
    let mut model = model();
    model.stimuli.remove(0);
    assert_snapshot!(refusal(&BatchRows, &model), @"the reference shows the logits of a single row on no input");
    assert_snapshot!(refusal(&AbsentMask, &model), @"the reference shows the logits of an input without padding on no input");
}

#[test]
fn an_input_of_which_nothing_can_be_asked_is_not_repeated() {
    let mut model = model();
    for stimulus in &mut model.stimuli {
        stimulus.request.capture = vec![Quantity::hook("blocks.9.hook_resid_pre")];
    }
    assert_snapshot!(refusal(&Determinism, &model), @"the reference shows a value of a plain run on no input");
}
