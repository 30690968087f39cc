//! What the adapter makes of a config, held against HF's classes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../../src/adapter.rs"]
mod adapter;
#[path = "../../src/family.rs"]
mod family;
#[path = "../../../held.rs"]
mod held;
#[path = "../../src/hyper.rs"]
mod hyper;

use serde_json::{Value, json};
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{AttentionSpec, Mask, MlpSpec, MoeSpec, Renormalise};

use adapter::Mixtral;

const FIXTURES: [&str; 3] = ["mixtral", "olmoe", "qwen3_moe"];

/// Few and small, as defaults are large.
fn small(kind: &str, more: Value) -> Value {
    let mut config = json!({
        "model_type": kind, "hidden_size": 32, "num_attention_heads": 8, "num_hidden_layers": 4, "num_experts": 3,
        "num_experts_per_tok": 2, "vocab_size": 7,
    });
    let (Value::Object(all), Value::Object(more)) = (&mut config, more) else {
        panic!("keys and values")
    };
    all.extend(more);
    config
}

fn spec(config: Value) -> ModelSpec {
    held::spec(&Mixtral, config)
}

fn attention(spec: &ModelSpec) -> &AttentionSpec {
    &spec.layers[0].attn.as_ref().unwrap().body
}

/// The mixture of each layer that has one.
fn mixtures(spec: &ModelSpec) -> Vec<Option<&MoeSpec>> {
    let bodies = spec
        .layers
        .iter()
        .map(|layer| &layer.mlp.as_ref().unwrap().body);
    bodies
        .map(|body| match body {
            MlpSpec::Moe(moe) => Some(moe),
            MlpSpec::Dense(_) => None,
        })
        .collect()
}

#[test]
fn every_key_that_hf_writes_is_known() {
    for name in FIXTURES {
        held::assert_keys_known(&Mixtral, name);
    }
}

#[test]
fn every_element_that_hf_writes_is_taken_once() {
    for name in FIXTURES {
        held::assert_taken_once(&spec(held::config(name)), &held::tensors(name), "");
    }
}

#[test]
fn the_old_spelling_means_the_same() {
    let mixtral = held::respelled(
        "mixtral",
        &["rope_parameters", "dtype", "num_local_experts"],
        json!({"rope_theta": 1e6, "torch_dtype": "float32", "num_experts": 5}),
    );
    assert_eq!(spec(mixtral), spec(held::config("mixtral")));
    let olmoe = held::respelled(
        "olmoe",
        &["rope_parameters", "num_experts"],
        json!({"rope_theta": 10_000.0, "rope_scaling": null, "num_local_experts": 6}),
    );
    assert_eq!(spec(olmoe), spec(held::config("olmoe")));
    let qwen3 = held::respelled(
        "qwen3_moe",
        &["rope_parameters", "num_local_experts"],
        json!({"rope_theta": 10_000, "rope_scaling": null, "num_experts": 5, "max_window_layers": 3}),
    );
    assert_eq!(spec(qwen3), spec(held::config("qwen3_moe")));
}

#[test]
fn mixtral_divides_the_chosen_weights_and_the_others_if_asked() {
    let renormalise =
        |kind: &str, more: Value| mixtures(&spec(small(kind, more)))[0].unwrap().renormalise;
    assert_eq!(
        renormalise("mixtral", json!({"norm_topk_prob": false})),
        Renormalise::Yes
    );
    for kind in ["olmoe", "qwen3_moe"] {
        assert_eq!(renormalise(kind, json!({})), Renormalise::No, "{kind}");
        assert_eq!(
            renormalise(kind, json!({"norm_topk_prob": true})),
            Renormalise::Yes,
            "{kind}"
        );
    }
}

#[test]
fn dense_layers_are_named_or_come_in_steps() {
    let sparse = |more: Value| -> Vec<bool> {
        let spec = spec(small("qwen3_moe", more));
        mixtures(&spec).iter().map(Option::is_some).collect()
    };
    assert_eq!(sparse(json!({})), [true; 4]);
    assert_eq!(
        sparse(json!({"mlp_only_layers": [0, 2]})),
        [false, true, false, true]
    );
    assert_eq!(
        sparse(json!({"decoder_sparse_step": 2})),
        [false, true, false, true]
    );
    let both = json!({"decoder_sparse_step": 2, "mlp_only_layers": [3]});
    assert_eq!(sparse(both), [false, true, false, false]);
}

#[test]
fn positions_that_stretch_have_no_longest_sequence() {
    let dynamic = json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}});
    assert_eq!(held::spec(&Mixtral, dynamic).n_ctx, None);
    assert_eq!(held::spec(&Mixtral, json!({})).n_ctx, Some(131_072));
}

#[test]
fn windows_are_everywhere_or_nowhere() {
    let mask = |kind: &str, more: Value| attention(&spec(small(kind, more))).mask;
    let window = json!({"sliding_window": 5});
    assert_eq!(mask("mixtral", window.clone()), Mask::sliding(5));
    assert_eq!(mask("mixtral", json!({})), Mask::CAUSAL);
    assert_eq!(mask("olmoe", window.clone()), Mask::CAUSAL);
    assert_eq!(mask("qwen3_moe", window), Mask::CAUSAL);
    assert_eq!(
        mask("qwen3_moe", json!({"use_sliding_window": true})),
        Mask::sliding(4096)
    );
}

#[test]
fn key_heads_that_are_null_are_as_many_as_queries_have() {
    let heads = |kind: &str, more: Value| attention(&spec(small(kind, more))).n_kv_heads;
    let null = json!({"num_key_value_heads": null, "num_attention_heads": 16});
    assert_eq!(heads("mixtral", null.clone()), 16);
    assert_eq!(heads("mixtral", json!({"num_attention_heads": 16})), 8);
    assert_eq!(heads("olmoe", json!({"num_attention_heads": 8})), 8);
}

#[test]
fn mixtrals_experts_may_be_stored_as_its_modules_are_named() {
    let checkpoint = held::tensors("mixtral");
    let renamed = checkpoint
        .into_iter()
        .map(|(name, shape)| (name.replace("block_sparse_moe", "mlp"), shape));
    held::assert_taken_once(&spec(held::config("mixtral")), &renamed.collect(), "");
}

#[test]
fn one_layer_of_each_as_hooks() {
    for name in FIXTURES {
        let layer = held::respelled(
            name,
            &["num_hidden_layers"],
            json!({"num_hidden_layers": 1}),
        );
        insta::assert_snapshot!(format!("{name}_as_hooks"), held::hook_lines(&spec(layer)));
    }
}

#[test]
fn olmoe_as_data() {
    let layer = held::respelled(
        "olmoe",
        &["num_hidden_layers", "num_experts"],
        json!({
            "num_hidden_layers": 1, "num_experts": 3,
        }),
    );
    insta::assert_json_snapshot!(spec(layer));
}

#[test]
fn what_cannot_be_read_is_refused_with_key_expected_and_found() {
    insta::assert_snapshot!(held::refusals(
        &Mixtral,
        [
            json!({"model_type": "qwen2_moe"}),
            json!({"is_causal": false}),
            json!({"num_experts": 0}),
            json!({"model_type": "olmoe", "hidden_size": 30, "num_attention_heads": 4}),
            json!({"model_type": "olmoe", "clip_qkv": "8"}),
            json!({"model_type": "qwen3_moe", "mlp_only_layers": 3}),
            json!({"model_type": "qwen3_moe", "mlp_only_layers": [1, "2"]}),
            json!({"rope_parameters": {"rope_type": "spiral"}}),
        ]
    ));
}
