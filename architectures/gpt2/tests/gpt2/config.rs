//! Which keys are read, and how.

use serde_json::json;
use tlbench_sdk::spec::{Activation, Mask, MlpSpec};
use tlbench_sdk::{ArchitectureAdapter, ModelSpec};

use crate::adapter::Gpt2;
use crate::{FIXTURES, attention, held, spec};

fn activation(spec: &ModelSpec) -> Activation {
    match &spec.layers[0].mlp.as_ref().unwrap().body {
        MlpSpec::Dense(mlp) => mlp.activation,
        MlpSpec::Moe(_) => panic!("GPT-2 has no experts"),
    }
}

#[test]
fn an_empty_config_is_gpt2_small() {
    let small = json!({
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": 3072,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "add_cross_attention": false,
        "scale_attn_weights": true, "scale_attn_by_inverse_layer_idx": false, "tie_word_embeddings": true,
    });
    assert_eq!(spec(json!({})), spec(small));
}

#[test]
fn the_general_spellings_mean_the_same_and_win_as_they_do_in_hf() {
    let general = json!({
        "hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 2, "max_position_embeddings": 9,
    });
    let own = json!({"n_embd": 12, "n_head": 3, "n_layer": 2, "n_positions": 9});
    assert_eq!(spec(general), spec(own));
    let both = spec(json!({"n_embd": 12, "hidden_size": 24}));
    assert_eq!(both.d_model, 24);
}

#[test]
fn the_hidden_layer_is_four_times_as_wide_unless_n_inner_says_otherwise() {
    let null = spec(json!({"n_embd": 24, "n_inner": null}));
    assert_eq!(null, spec(json!({"n_embd": 24, "n_inner": 96})));
    assert_ne!(null, spec(json!({"n_embd": 24, "n_inner": 95})));
}

#[test]
fn scores_are_divided_by_the_root_of_the_width_and_by_the_layers_number() {
    let scales = |by_width: bool, by_layer: bool| {
        let spec = spec(json!({
            "n_embd": 32, "n_head": 2, "n_layer": 2,
            "scale_attn_weights": by_width, "scale_attn_by_inverse_layer_idx": by_layer,
        }));
        [0, 1].map(|layer| attention(&spec, layer).scale)
    };
    assert_eq!(scales(true, false), [0.25, 0.25]);
    assert_eq!(scales(true, true), [0.25, 0.125]);
    assert_eq!(scales(false, true), [1.0, 0.5]);
    assert_eq!(scales(false, false), [1.0, 1.0]);
}

#[test]
fn every_query_sees_every_key_where_hfs_mask_function_is_told_so() {
    let bidirectional = spec(json!({"is_causal": false}));
    let all = Mask::Band {
        back: None,
        ahead: None,
    };
    assert_eq!(attention(&bidirectional, 0).mask, all);
    assert_eq!(attention(&spec(json!({})), 0).mask, Mask::CAUSAL);
}

#[test]
fn gelu_comes_under_many_names_and_in_three_kinds() {
    let activation = |name: &str| activation(&spec(json!({"activation_function": name})));
    for tanh in [
        "gelu_new",
        "gelu_fast",
        "gelu_accurate",
        "gelu_pytorch_tanh",
        "gelu_python_tanh",
    ] {
        assert_eq!(activation(tanh), Activation::GeluTanh, "{tanh}");
    }
    assert_eq!(activation("gelu"), Activation::Gelu);
    assert_eq!(activation("gelu_python"), Activation::Gelu);
    assert_eq!(activation("quick_gelu"), Activation::QuickGelu);
    assert_eq!(activation("silu"), Activation::Silu);
    assert_eq!(activation("swish"), Activation::Silu);
    assert_eq!(activation("relu"), Activation::Relu);
    assert_eq!(activation("relu2"), Activation::ReluSquared);
}

#[test]
fn every_key_that_hf_writes_is_read_or_known_to_change_nothing() {
    for name in FIXTURES {
        held::assert_keys_known(&Gpt2, name);
    }
    let reader = held::reader(held::config("tiny"));
    Gpt2.spec(&reader).unwrap();
    let both = reader.keys_read();
    assert_eq!(both.intersection(&reader.keys_neutral()).next(), None);
}

#[test]
fn each_component_names_keys_that_were_read_for_it() {
    let reader = held::reader(json!({}));
    let spec = Gpt2.spec(&reader).unwrap();
    let read = reader.keys_read();
    for component in spec.components() {
        assert!(!component.config_keys.is_empty(), "{}", component.name);
        for key in &component.config_keys {
            assert!(read.contains(key), "{}: {key}", component.name);
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_key_expected_and_found() {
    let configs = [
        json!({"n_embd": 31, "n_head": 5}),
        json!({"hidden_size": "768"}),
        json!({"n_head": 0}),
        json!({"vocab_size": -1}),
        json!({"n_inner": 3072.5}),
        json!({"activation_function": "mish"}),
        json!({"layer_norm_epsilon": "1e-5"}),
        json!({"scale_attn_weights": 1}),
        json!({"add_cross_attention": true}),
    ];
    insta::assert_snapshot!(held::refusals(&Gpt2, configs), @r#"
    key `n_embd`: expected a multiple of n_head = 5, found 31
    key `hidden_size` or `n_embd`: expected a whole number above 0, found "768"
    key `num_attention_heads` or `n_head`: expected a whole number above 0, found 0
    key `vocab_size`: expected a whole number above 0, found -1
    key `n_inner`: expected a whole number above 0, found 3072.5
    key `activation_function`: expected one of "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu", "gelu_python", "quick_gelu", "silu", "swish", "relu", "relu2", found "mish"
    key `layer_norm_epsilon`: expected a finite number, found "1e-5"
    key `scale_attn_weights`: expected true or false, found 1
    key `add_cross_attention`: expected false, as there is no encoder to attend to, found true
    "#);
}
