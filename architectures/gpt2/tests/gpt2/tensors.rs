//! Which checkpoint tensors are taken, held against a checkpoint that HF wrote.

use serde_json::json;

use crate::{FIXTURES, held, spec};

fn without_prefix(checkpoint: &held::Checkpoint) -> held::Checkpoint {
    checkpoint
        .iter()
        .map(|(name, shape)| {
            let name = name.strip_prefix("transformer.").unwrap_or(name);
            (name.to_owned(), shape.clone())
        })
        .collect()
}

#[test]
fn every_element_that_hf_writes_is_taken_once_and_the_tied_embedding_twice() {
    for name in FIXTURES {
        let spec = spec(held::config(name));
        held::assert_taken_once(&spec, &held::tensors(name), "transformer.wte.weight");
    }
}

#[test]
fn the_same_holds_without_the_prefix() {
    let spec = spec(held::config("tiny"));
    let checkpoint = without_prefix(&held::tensors("tiny"));
    assert!(checkpoint.contains_key("h.0.attn.c_attn.weight"));
    held::assert_taken_once(&spec, &checkpoint, "wte.weight");
}

#[test]
fn an_untied_head_is_taken_and_nothing_else_will_do() {
    let tied = "tie_word_embeddings";
    let spec = spec(held::respelled("tiny", &[tied], json!({tied: false})));
    let mut checkpoint = held::tensors("tiny");
    let head = &spec.unembed.projection.weight;
    assert_eq!(held::found(head, &checkpoint), None);
    checkpoint.insert("lm_head.weight".into(), head.shape.clone());
    held::assert_taken_once(&spec, &checkpoint, "");
}

#[test]
fn a_tied_head_that_is_stored_all_the_same_is_taken_as_hf_does() {
    let spec = spec(held::config("tiny"));
    let mut checkpoint = held::tensors("tiny");
    let head = &spec.unembed.projection.weight;
    checkpoint.insert("lm_head.weight".into(), head.shape.clone());
    held::assert_taken_once(&spec, &checkpoint, "");
}

#[test]
fn a_tied_embedding_is_taken_from_the_head_where_only_that_is_stored() {
    let spec = spec(held::config("tiny"));
    let mut checkpoint = held::tensors("tiny");
    let shape = checkpoint.remove("transformer.wte.weight").unwrap();
    checkpoint.insert("lm_head.weight".into(), shape);
    held::assert_taken_once(&spec, &checkpoint, "lm_head.weight");
}

#[test]
fn the_masks_of_old_checkpoints_are_ignored() {
    assert_eq!(
        spec(json!({})).ignored_tensors,
        ["*.attn.bias", "*.attn.masked_bias"]
    );
}
