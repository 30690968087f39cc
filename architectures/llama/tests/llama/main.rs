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

use serde_json::json;

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
        held::assert_taken_once(
            &held::spec(&adapter, config.clone()),
            &held::tensors(name),
            twice,
        );
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
            held::spec(&adapter, old.clone()),
            held::spec(&adapter, config.clone()),
            "{name}"
        );
    }
}
