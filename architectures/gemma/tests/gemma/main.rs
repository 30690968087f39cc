//! What the adapter makes of a config, held against HF's classes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../../src/adapter.rs"]
mod adapter;
#[path = "../../../held.rs"]
mod held;
#[path = "../../src/hyper.rs"]
mod hyper;

use serde_json::{Value, json};
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{Activation, AttentionSpec, Mask, MlpSpec, PositionSpec, RotarySpec};

use adapter::Gemma;

const FIXTURES: [&str; 3] = ["gemma", "gemma2", "gemma3"];

fn spec(config: Value) -> ModelSpec {
    held::spec(&Gemma, config)
}

fn attentions(spec: &ModelSpec) -> Vec<&AttentionSpec> {
    let layers = spec.layers.iter();
    layers
        .map(|layer| &layer.attn.as_ref().unwrap().body)
        .collect()
}

fn rotary(attention: &AttentionSpec) -> &RotarySpec {
    match &attention.position {
        PositionSpec::Rotary(rotary) => rotary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_key_that_hf_writes_is_known() {
    for name in FIXTURES {
        held::assert_keys_known(&Gemma, name);
    }
}

#[test]
fn every_element_that_hf_writes_is_taken_once_and_the_tied_embedding_twice() {
    for name in FIXTURES {
        let spec = spec(held::config(name));
        held::assert_taken_once(&spec, &held::tensors(name), "model.embed_tokens.weight");
    }
}

#[test]
fn the_old_spelling_means_the_same() {
    let gemma = held::respelled(
        "gemma",
        &["rope_parameters"],
        json!({"rope_theta": 10_000.0}),
    );
    assert_eq!(spec(gemma), spec(held::config("gemma")));
    let gemma2 = held::respelled(
        "gemma2",
        &["rope_parameters", "layer_types"],
        json!({"rope_theta": 10_000.0, "rope_scaling": null, "cache_implementation": "hybrid"}),
    );
    assert_eq!(spec(gemma2), spec(held::config("gemma2")));
    let gemma3 = held::respelled(
        "gemma3",
        &["rope_parameters", "layer_types"],
        json!({
            "rope_theta": 40_000.0, "rope_local_base_freq": 700.0, "sliding_window_pattern": 3,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0},
        }),
    );
    assert_eq!(spec(gemma3), spec(held::config("gemma3")));
}

#[test]
fn a_rotary_key_that_nobody_reads_is_named_with_its_tables() {
    let not_read = |config: Value| held::keys_not_read(&Gemma, &config);
    let new = json!({
        "model_type": "gemma3_text",
        "rope_parameters": {"full_attention": {"rope_theta": 7.0, "foo": 1}, "sliding_attention": {}, "bar": 2},
    });
    let named = ["rope_parameters.bar", "rope_parameters.full_attention.foo"];
    assert_eq!(not_read(new), named);
    let old = json!({
        "model_type": "gemma3_text", "rope_theta": 7.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0, "foo": 1},
    });
    assert_eq!(not_read(old), ["rope_scaling.foo"]);
}

#[test]
fn positions_that_stretch_on_some_layers_have_no_longest_sequence() {
    let n_ctx = |kind: &str| {
        let full = json!({"rope_type": kind, "factor": 2.0});
        let rotary = json!({"full_attention": full, "sliding_attention": {"rope_type": "default"}});
        spec(json!({"model_type": "gemma3_text", "rope_parameters": rotary})).n_ctx
    };
    assert_eq!(n_ctx("dynamic"), None);
    assert_eq!(n_ctx("linear"), Some(131_072));
}

#[test]
fn gemma_3_has_five_layers_with_a_window_to_one_without() {
    let spec =
        spec(json!({"model_type": "gemma3_text", "num_hidden_layers": 7, "sliding_window": 9}));
    let local = Mask::sliding(9);
    let masks: Vec<Mask> = attentions(&spec).iter().map(|each| each.mask).collect();
    assert_eq!(
        masks,
        [local, local, local, local, local, Mask::CAUSAL, local]
    );
    let thetas: Vec<f64> = attentions(&spec)
        .iter()
        .map(|each| rotary(each).theta)
        .collect();
    assert_eq!(thetas, [1e4, 1e4, 1e4, 1e4, 1e4, 1e6, 1e4]);
}

#[test]
fn an_absent_cap_is_the_default_and_null_is_none() {
    let caps = |config: Value| {
        let spec = spec(config);
        (attentions(&spec)[0].softcap, spec.unembed.softcap)
    };
    let (absent, null) = (
        |kind: &str| json!({"model_type": kind}),
        |kind: &str| json!({"model_type": kind, "attn_logit_softcapping": null, "final_logit_softcapping": null}),
    );
    assert_eq!(caps(absent("gemma2")), (Some(50.0), Some(30.0)));
    assert_eq!(caps(null("gemma2")), (None, None));
    for kind in ["gemma", "gemma3_text"] {
        assert_eq!(caps(absent(kind)), (None, None), "{kind}");
    }
}

#[test]
fn hf_does_not_pass_gemma_3s_cap_of_scores_on() {
    let capped = json!({"model_type": "gemma3_text", "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0});
    let spec = spec(capped);
    assert_eq!(attentions(&spec)[0].softcap, None);
    assert_eq!(spec.unembed.softcap, Some(30.0));
}

#[test]
fn scores_are_divided_by_the_root_of_the_heads_width_or_of_what_replaced_it() {
    let scale = |kind: &str| {
        let config = json!({"model_type": kind, "head_dim": 64, "query_pre_attn_scalar": 16});
        attentions(&spec(config))[0].scale
    };
    assert_eq!(scale("gemma"), 0.125);
    assert_eq!(scale("gemma2"), 0.25);
    assert_eq!(scale("gemma3_text"), 0.25);
}

#[test]
fn gemma_1_takes_gelu_for_its_approximation() {
    let activation = |config: Value| match &spec(config).layers[0].mlp.as_ref().unwrap().body {
        MlpSpec::Dense(mlp) => mlp.activation,
        MlpSpec::Moe(_) => panic!("Gemma has no experts"),
    };
    assert_eq!(
        activation(json!({"hidden_act": "gelu"})),
        Activation::GeluTanh
    );
    assert_eq!(
        activation(json!({"hidden_act": "silu", "hidden_activation": "gelu"})),
        Activation::Silu
    );
    let second = json!({"model_type": "gemma2", "hidden_activation": "gelu"});
    assert_eq!(activation(second), Activation::Gelu);
}

#[test]
fn one_layer_of_each_as_hooks() {
    for name in FIXTURES {
        let layer = held::respelled(
            name,
            &["num_hidden_layers"],
            json!({"num_hidden_layers": 1, "layer_types": null}),
        );
        insta::assert_snapshot!(format!("{name}_as_hooks"), held::hook_lines(&spec(layer)));
    }
}

#[test]
fn gemma_2_as_data() {
    insta::assert_json_snapshot!(spec(held::config("gemma2")));
}

#[test]
fn what_cannot_be_read_is_refused_with_key_expected_and_found() {
    insta::assert_snapshot!(held::refusals(
        &Gemma,
        [
            json!({"model_type": "gemma4"}),
            json!({"use_bidirectional_attention": true}),
            json!({"is_causal": false}),
            json!({"hidden_act": "mish"}),
            json!({"model_type": "gemma2", "hidden_size": 30, "num_attention_heads": 4}),
            json!({"model_type": "gemma2", "sliding_window": null}),
            json!({"model_type": "gemma2", "attn_logit_softcapping": "50"}),
            json!({"model_type": "gemma3_text", "num_hidden_layers": 2, "layer_types": ["full_attention"]}),
            json!({"model_type": "gemma3_text", "rope_scaling": {"rope_type": "spiral"}}),
        ]
    ));
}
