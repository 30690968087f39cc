//! What the adapter makes of a config, held against HF's `Starcoder2ForCausalLM`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../../src/adapter.rs"]
mod adapter;
#[path = "../../../held.rs"]
mod held;

use serde_json::{Value, json};
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{AttentionSpec, Mask};

use adapter::Starcoder2;

/// Each with the tensor that embedding and head share.
const FIXTURES: [(&str, &str); 2] = [("windowed", "model.embed_tokens.weight"), ("unbiased", "")];

fn spec(config: Value) -> ModelSpec {
    held::spec(&Starcoder2, config)
}

fn attention(spec: &ModelSpec) -> &AttentionSpec {
    &spec.layers[0].attn.as_ref().unwrap().body
}

#[test]
fn every_key_that_hf_writes_is_known() {
    for (name, _) in FIXTURES {
        held::assert_keys_known(&Starcoder2, name);
    }
}

#[test]
fn every_element_that_hf_writes_is_taken_once_and_a_tied_embedding_twice() {
    for (name, twice) in FIXTURES {
        held::assert_taken_once(&spec(held::config(name)), &held::tensors(name), twice);
    }
}

#[test]
fn an_empty_config_is_hfs_default() {
    let defaults = json!({
        "vocab_size": 49_152, "hidden_size": 3072, "intermediate_size": 12_288, "num_hidden_layers": 30,
        "num_attention_heads": 24, "num_key_value_heads": 2, "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 4096, "norm_epsilon": 1e-5, "rope_theta": 10_000.0, "sliding_window": null,
        "use_bias": true, "tie_word_embeddings": true,
    });
    assert_eq!(spec(json!({})), spec(defaults));
}

#[test]
fn the_old_spelling_of_rotary_keys_means_the_same() {
    let windowed = json!({"rope_theta": 600.0, "torch_dtype": "float32"});
    let windowed = held::respelled("windowed", &["rope_parameters", "dtype"], windowed);
    assert_eq!(spec(windowed), spec(held::config("windowed")));
    let unbiased = json!({
        "rope_theta": 900.0,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24},
    });
    let unbiased = held::respelled("unbiased", &["rope_parameters"], unbiased);
    assert_eq!(spec(unbiased), spec(held::config("unbiased")));
}

#[test]
fn there_is_a_window_where_the_config_has_one() {
    let mask = |config: Value| attention(&spec(config)).mask;
    assert_eq!(mask(json!({})), Mask::CAUSAL);
    assert_eq!(mask(json!({"sliding_window": 7})), Mask::sliding(7));
}

#[test]
fn heads_are_as_wide_as_an_undeclared_key_says_or_share_the_width_rounded_down() {
    let d_head = |config: Value| attention(&spec(config)).d_head;
    let width = json!({"hidden_size": 30, "num_attention_heads": 4, "rope_parameters": {}});
    assert_eq!(d_head(json!({"head_dim": 6})), 6);
    assert_eq!(d_head(json!({})), 128);
    assert_eq!(
        d_head(json!({"hidden_size": 27, "num_attention_heads": 6})),
        4
    );
    assert!(
        held::try_spec(&Starcoder2, width).is_err(),
        "7 channels are no pairs"
    );
}

#[test]
fn positions_that_stretch_have_no_longest_sequence() {
    let dynamic = json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}});
    assert_eq!(held::spec(&Starcoder2, dynamic).n_ctx, None);
    assert_eq!(held::spec(&Starcoder2, json!({})).n_ctx, Some(4096));
}

#[test]
fn fixtures_as_hooks() {
    for (name, _) in FIXTURES {
        let hooks = held::hook_lines(&spec(held::config(name)));
        insta::assert_snapshot!(format!("{name}_as_hooks"), hooks);
    }
}

#[test]
fn the_guide_quotes_this_crate() {
    let lines = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let source = [
        include_str!("../../src/adapter.rs"),
        include_str!("../../src/lib.rs"),
    ];
    let source = source.map(lines);
    let guide = include_str!("../../../../docs/writing-an-architecture.md");
    let excerpts = guide.split("```rust\n").skip(1);
    let excerpts: Vec<&str> = excerpts
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!excerpts.is_empty());
    for excerpt in excerpts {
        let quoted = lines(excerpt);
        let is_there = source.iter().any(|source| source.contains(quoted.trim()));
        assert!(is_there, "{excerpt}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_key_expected_and_found() {
    insta::assert_snapshot!(held::refusals(
        &Starcoder2,
        [
            json!({"is_causal": false}),
            json!({"num_attention_heads": 6, "num_key_value_heads": 4}),
            json!({"sliding_window": 0}),
            json!({"use_bias": "yes"}),
            json!({"norm_epsilon": "1e-5"}),
            json!({"hidden_act": "gelu_10"}),
            json!({"partial_rotary_factor": 0.5}),
            json!({"rope_parameters": {"rope_type": "su"}}),
        ]
    ));
}
