//! What the adapters make of a config, held against HF's classes.

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

use serde_json::{Value, json};

use adapter::LlamaLike;
use family::{LLAMA, MISTRAL, QWEN2, QWEN3};

fn fixtures() -> [(LlamaLike, &'static str); 9] {
    let llama = || LlamaLike(LLAMA);
    [
        (llama(), "tiny"),
        (llama(), "biased"),
        (llama(), "linear"),
        (llama(), "dynamic"),
        (llama(), "yarn"),
        (llama(), "longrope"),
        (LlamaLike(MISTRAL), "mistral"),
        (LlamaLike(QWEN2), "qwen2"),
        (LlamaLike(QWEN3), "qwen3"),
    ]
}

#[test]
fn every_key_that_hf_writes_is_known() {
    for (adapter, name) in fixtures() {
        held::assert_keys_known(&adapter, name);
    }
}

#[test]
fn every_element_that_hf_writes_is_taken_once_and_a_tied_embedding_twice() {
    for (adapter, name) in fixtures() {
        let config = held::config(name);
        let is_tied = config["tie_word_embeddings"] == json!(true);
        let twice = if is_tied {
            "model.embed_tokens.weight"
        } else {
            ""
        };
        held::assert_taken_once(&held::spec(&adapter, config), &held::tensors(name), twice);
    }
}

#[test]
fn the_old_spelling_of_rotary_keys_means_the_same() {
    for (adapter, name) in fixtures() {
        let config = held::config(name);
        let mut scaling = config["rope_parameters"].clone();
        let theta = scaling
            .as_object_mut()
            .unwrap()
            .remove("rope_theta")
            .unwrap();
        let kind = scaling
            .as_object_mut()
            .unwrap()
            .remove("rope_type")
            .unwrap();
        scaling["type"] = kind;
        let old = json!({"rope_scaling": scaling, "rope_theta": theta});
        let old = held::respelled(name, &["rope_parameters"], old);
        assert_eq!(
            held::spec(&adapter, old),
            held::spec(&adapter, config),
            "{name}"
        );
    }
}

#[test]
fn a_rotary_key_that_nobody_reads_is_named_with_its_table() {
    let not_read = |config: Value| held::keys_not_read(&LlamaLike(LLAMA), &config);
    let parameters = json!({"rope_type": "linear", "factor": 2.0, "beta_fast": 32.0, "foo": 1});
    let new = json!({"rope_parameters": parameters, "rope_theta": 500.0});
    assert_eq!(
        not_read(new),
        ["rope_parameters.beta_fast", "rope_parameters.foo"]
    );
    let old = json!({"rope_scaling": {"type": "dynamic", "factor": 2.0, "foo": 1}});
    assert_eq!(not_read(old), ["rope_scaling.foo"]);
}

#[test]
fn fixtures_as_hooks() {
    for (adapter, name) in fixtures() {
        let spec = held::spec(&adapter, held::config(name));
        insta::assert_snapshot!(format!("{name}_as_hooks"), held::hook_lines(&spec));
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_key_expected_and_found() {
    let rope = |rope: Value| json!({"rope_parameters": rope});
    insta::assert_snapshot!(held::refusals(
        &LlamaLike(LLAMA),
        [
            json!({"hidden_size": 30, "num_attention_heads": 4}),
            json!({"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 4}),
            json!({"hidden_act": "gelu_10"}),
            json!({"attention_bias": "yes"}),
            rope(json!({"rope_type": "su"})),
            rope(json!({"rope_type": "llama3", "factor": 8.0})),
            rope(json!({"rope_type": "longrope", "short_factor": [1.0, "x"]})),
            rope(json!({"rope_theta": -1.0})),
            json!({"rope_scaling": {"type": "linear"}}),
        ]
    ));
    insta::assert_snapshot!(
        "windows",
        held::refusals(
            &LlamaLike(QWEN2),
            [
                json!({"num_hidden_layers": 2, "layer_types": ["full_attention"]}),
                json!({"num_hidden_layers": 1, "layer_types": ["chunked_attention"]}),
            ]
        )
    );
}
