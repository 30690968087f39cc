//! Which checkpoint tensors are taken, held against a checkpoint that HF wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tlbench_sdk::spec::TensorSource;
use tlbench_sdk::{ModelSpec, Tensor};

use crate::{config_of, fixture_config, fixtures, spec};

/// Shapes by name.
type Checkpoint = BTreeMap<String, Vec<usize>>;

fn fixture_tensors() -> Checkpoint {
    tensors_of(&fixtures()[0])
}

/// The tensors of a checkpoint: all that is in the `state_dict` but for the tied head.
fn tensors_of(folder: &Path) -> Checkpoint {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    let header: BTreeMap<String, Value> = serde_json::from_slice(&rest[..length]).unwrap();
    header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            (
                name,
                serde_json::from_value(entry["shape"].clone()).unwrap(),
            )
        })
        .collect()
}

/// The name under which `checkpoint` holds what `source` takes.
fn found<'a>(source: &'a TensorSource, checkpoint: &Checkpoint) -> Option<&'a str> {
    source
        .names
        .iter()
        .map(String::as_str)
        .find(|&name| checkpoint.contains_key(name))
}

/// How often each element of each tensor is taken.
fn taken(spec: &ModelSpec, checkpoint: &Checkpoint) -> BTreeMap<String, Vec<u32>> {
    let mut counts: BTreeMap<String, Vec<u32>> = checkpoint
        .iter()
        .map(|(name, shape)| (name.clone(), vec![0; shape.iter().product()]))
        .collect();
    for (role, source) in spec.sources() {
        let name = found(source, checkpoint).unwrap_or_else(|| panic!("{role} is missing"));
        assert_eq!(source.shape, checkpoint[name], "{role}");
        let places = (0_i64..).take(source.shape.iter().product()).collect();
        let places = Tensor::from_vec::<i64>(places, &source.shape).unwrap();
        let part = source
            .cut
            .iter()
            .try_fold(places, |whole, cut| cut.apply(&whole))
            .unwrap();
        let counts = counts.get_mut(name).unwrap();
        for &place in part.as_slice::<i64>().unwrap() {
            counts[usize::try_from(place).unwrap()] += 1;
        }
    }
    counts
}

fn assert_taken_once(spec: &ModelSpec, checkpoint: &Checkpoint, twice: &str) {
    for (name, counts) in taken(spec, checkpoint) {
        let expected = if name == twice { 2 } else { 1 };
        assert!(counts.iter().all(|&count| count == expected), "{name}");
    }
}

fn without_prefix(checkpoint: &Checkpoint) -> Checkpoint {
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
    for folder in fixtures() {
        let spec = spec(config_of(&folder));
        assert_taken_once(&spec, &tensors_of(&folder), "transformer.wte.weight");
    }
}

#[test]
fn the_same_holds_without_the_prefix() {
    let spec = spec(fixture_config());
    let checkpoint = without_prefix(&fixture_tensors());
    assert!(checkpoint.contains_key("h.0.attn.c_attn.weight"));
    assert_taken_once(&spec, &checkpoint, "wte.weight");
}

#[test]
fn an_untied_head_is_taken_and_nothing_else_will_do() {
    let mut config = fixture_config();
    config["tie_word_embeddings"] = json!(false);
    let spec = spec(config);
    let mut checkpoint = fixture_tensors();
    let head = &spec.unembed.projection.weight;
    assert_eq!(found(head, &checkpoint), None);
    checkpoint.insert("lm_head.weight".into(), head.shape.clone());
    assert_taken_once(&spec, &checkpoint, "");
}

#[test]
fn a_tied_head_that_is_stored_all_the_same_is_taken_as_hf_does() {
    let spec = spec(fixture_config());
    let mut checkpoint = fixture_tensors();
    let head = &spec.unembed.projection.weight;
    checkpoint.insert("lm_head.weight".into(), head.shape.clone());
    assert_taken_once(&spec, &checkpoint, "");
}

#[test]
fn a_tied_embedding_is_taken_from_the_head_where_only_that_is_stored() {
    let spec = spec(fixture_config());
    let mut checkpoint = fixture_tensors();
    let shape = checkpoint.remove("transformer.wte.weight").unwrap();
    checkpoint.insert("lm_head.weight".into(), shape);
    assert_taken_once(&spec, &checkpoint, "lm_head.weight");
}

#[test]
fn the_masks_of_old_checkpoints_are_ignored() {
    assert_eq!(
        spec(json!({})).ignored_tensors,
        ["*.attn.bias", "*.attn.masked_bias"]
    );
}
