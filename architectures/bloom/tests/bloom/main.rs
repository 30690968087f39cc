//! What the adapter makes of a config, held against HF's `BloomForCausalLM`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../../src/adapter.rs"]
mod adapter;
#[path = "../../../held.rs"]
mod held;

use serde_json::json;
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::PositionSpec;

use adapter::Bloom;

const FIXTURES: [&str; 2] = ["five_heads", "post_norm_residual"];

fn slopes(n_heads: usize) -> Vec<f64> {
    let spec = held::spec(
        &Bloom,
        json!({"hidden_size": 16 * n_heads, "n_head": n_heads, "n_layer": 1}),
    );
    match &spec.layers[0].attn.as_ref().unwrap().body.position {
        PositionSpec::Alibi(alibi) => alibi.slopes.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_config_is_hfs_default() {
    let defaults = json!({
        "vocab_size": 250_880, "hidden_size": 64, "n_layer": 2, "n_head": 8, "layer_norm_epsilon": 1e-5,
        "apply_residual_connection_post_layernorm": false, "tie_word_embeddings": true,
    });
    assert_eq!(held::spec(&Bloom, json!({})), held::spec(&Bloom, defaults));
}

#[test]
fn all_spellings_mean_the_same() {
    for name in FIXTURES {
        let new = held::config(name);
        let (width, heads) = (new["hidden_size"].clone(), new["n_head"].clone());
        let old = held::respelled(
            name,
            &["hidden_size", "n_head", "n_layer", "dtype"],
            json!({
                "n_embed": width, "num_attention_heads": heads, "num_hidden_layers": 2, "torch_dtype": "float32",
                "seq_length": 2048, "masked_softmax_fusion": true, "bias_dropout_fusion": true,
            }),
        );
        assert_eq!(held::spec(&Bloom, old), held::spec(&Bloom, new), "{name}");
    }
}

#[test]
fn slopes_of_heads_that_are_a_power_of_two_are_one_series() {
    assert_eq!(slopes(1), [0.003_906_25]);
    assert_eq!(slopes(4), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
}

#[test]
fn heads_beyond_a_power_of_two_take_slopes_from_between() {
    assert_eq!(slopes(5), [0.25, 0.0625, 0.015_625, 0.003_906_25, 0.5]);
    assert_eq!(slopes(3), [0.0625, 0.003_906_25, 0.25]);
    assert_eq!(slopes(7)[4..], [0.5, 0.125, 0.031_25]);
}

#[test]
fn every_key_that_hf_writes_is_known() {
    for name in FIXTURES {
        held::assert_keys_known(&Bloom, name);
    }
}

#[test]
fn every_element_that_hf_writes_is_taken_once_and_the_tied_embedding_twice() {
    for name in FIXTURES {
        let (spec, checkpoint) = (held::spec(&Bloom, held::config(name)), held::tensors(name));
        held::assert_taken_once(&spec, &checkpoint, "transformer.word_embeddings.weight");
        held::assert_taken_once(
            &spec,
            &without_prefix(&checkpoint),
            "word_embeddings.weight",
        );
    }
}

/// As the original checkpoints are.
fn without_prefix(checkpoint: &held::Checkpoint) -> held::Checkpoint {
    let named = checkpoint.iter().map(|(name, shape)| {
        let name = name.strip_prefix("transformer.").unwrap_or(name);
        (name.to_owned(), shape.clone())
    });
    named.collect()
}

#[test]
fn the_first_fixture_as_hooks() {
    insta::assert_snapshot!(held::hook_lines(&one_layer("five_heads")));
}

#[test]
fn the_second_fixture_as_data() {
    insta::assert_json_snapshot!(one_layer("post_norm_residual"));
}

fn one_layer(name: &str) -> ModelSpec {
    held::spec(
        &Bloom,
        held::respelled(name, &["n_layer"], json!({"n_layer": 1})),
    )
}

#[test]
fn what_cannot_be_read_is_refused_with_key_expected_and_found() {
    insta::assert_snapshot!(held::refusals(
        &Bloom,
        [
            json!({"hidden_size": 31, "n_head": 5}),
            json!({"hidden_size": 0}),
            json!({"n_embed": "64"}),
            json!({"apply_residual_connection_post_layernorm": 1}),
            json!({"layer_norm_epsilon": null, "vocab_size": -3}),
        ]
    ));
}
