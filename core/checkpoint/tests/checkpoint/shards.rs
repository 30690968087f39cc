//! A checkpoint in several files is the same model, and its files may not contradict each other.

use serde_json::{Value, json};
use tlbench_checkpoint::{ModelFolder, Weights};
use tlbench_sdk::spec::TensorSource;

use crate::support::{Folder, safetensors, two_tensors};

const CONFIG: &str = r#"{"model_type": "some_family"}"#;
const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

/// A file with tensors of one f32, which is 1 in all of them.
fn ones(names: &[&str]) -> Vec<u8> {
    let declared = names.iter().zip(0..).map(|(name, index)| {
        let (begin, end) = (index * 4, index * 4 + 4);
        format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{begin},{end}]}}"#)
    });
    let declared: Vec<String> = declared.collect();
    let data = 1.0_f32.to_le_bytes().repeat(names.len());
    safetensors(format!("{{{}}}", declared.join(",")), &data)
}

fn index(weight_map: &Value) -> String {
    json!({"metadata": {"total_size": 8}, "weight_map": weight_map}).to_string()
}

/// `a` in the first shard, `b` in the second.
fn sharded() -> Folder {
    Folder::new()
        .with("config.json", CONFIG)
        .with(
            "model.safetensors.index.json",
            index(&json!({"a": FIRST, "b": SECOND})),
        )
        .with(FIRST, ones(&["a"]))
        .with(SECOND, ones(&["b"]))
}

fn refusal(folder: &Folder) -> String {
    folder.said(ModelFolder::open(folder.path()).unwrap_err())
}

#[test]
fn shards_are_one_checkpoint() {
    let folder = sharded();
    let model = ModelFolder::open(folder.path()).unwrap();
    let weights = model.weights();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(weights.read_f32("b").unwrap(), [1.0]);
    let whole = Folder::new()
        .with("config.json", CONFIG)
        .with("model.safetensors", ones(&["a", "b"]));
    let whole = ModelFolder::open(whole.path()).unwrap();
    assert_eq!(
        model.weights_digest().unwrap(),
        whole.weights_digest().unwrap()
    );
}

#[test]
fn one_file_with_everything_comes_before_an_index() {
    let folder = sharded().with("model.safetensors", two_tensors());
    let model = ModelFolder::open(folder.path()).unwrap();
    assert_eq!(model.weights().shape("a").unwrap(), [2, 2]);
}

#[test]
fn what_a_shard_holds_beyond_the_index_is_there() {
    let folder = sharded().with(SECOND, ones(&["b", "c"]));
    let model = ModelFolder::open(folder.path()).unwrap();
    assert_eq!(model.weights().names().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn what_is_wrong_with_a_tensor_is_told_of_its_shard() {
    let folder = sharded();
    let weights =
        Weights::open_sharded(folder.path().join("model.safetensors.index.json")).unwrap();
    let messages = [
        folder.said(weights.resolve(&TensorSource::new(["b"], [2])).unwrap_err()),
        folder.said(weights.read_vec::<f64>("a").unwrap_err()),
        folder.said(weights.read("c").unwrap_err()),
    ];
    insta::assert_snapshot!(messages.join("\n"), @"
    [folder]/model-00002-of-00002.safetensors: tensor `b`: expected shape [2], found [1]
    [folder]/model-00001-of-00002.safetensors: tensor `a`: expected elements of f64, found f32
    [folder]/model.safetensors.index.json: expected a tensor `c`, found none
    ");
}

#[test]
fn shards_that_contradict_their_index() {
    let with_map = |map: Value| sharded().with("model.safetensors.index.json", index(&map));
    let without = |shard: &str| {
        let folder = sharded();
        std::fs::remove_file(folder.path().join(shard)).unwrap();
        folder
    };
    let folders = [
        without(SECOND),
        without(FIRST),
        sharded().with(SECOND, ones(&["a", "b"])),
        sharded().with(SECOND, ones(&["c"])),
        sharded().with(SECOND, &ones(&["b"])[..40]),
        with_map(json!({"a": SECOND, "b": FIRST})),
        with_map(json!({"a": "../model.safetensors"})),
        with_map(json!({"a": "/etc/passwd"})),
        with_map(json!({"a": ""})),
        with_map(json!({"a": "shards/"})),
        with_map(json!({})),
    ];
    let messages: Vec<String> = folders.iter().map(refusal).collect();
    insta::assert_snapshot!(messages.join("\n"), @"
    [folder]/model.safetensors.index.json: shard `model-00002-of-00002.safetensors` is missing: it holds 1 of 2 tensors, `b` among them
    [folder]/model.safetensors.index.json: shard `model-00001-of-00002.safetensors` is missing: it holds 1 of 2 tensors, `a` among them
    [folder]/model.safetensors.index.json: tensor `a` is in two shards, `model-00001-of-00002.safetensors` and `model-00002-of-00002.safetensors`
    [folder]/model.safetensors.index.json: tensor `b`: expected it in shard `model-00002-of-00002.safetensors`, which does not hold it
    [folder]/model-00002-of-00002.safetensors: header length: expected at most 32 bytes (the file ends there), found 54
    [folder]/model.safetensors.index.json: tensor `a`: expected it in shard `model-00002-of-00002.safetensors`, which does not hold it
    [folder]/model.safetensors.index.json: tensor `a`: expected the name of a file beside the index, found `../model.safetensors`
    [folder]/model.safetensors.index.json: tensor `a`: expected the name of a file beside the index, found `/etc/passwd`
    [folder]/model.safetensors.index.json: tensor `a`: expected the name of a file beside the index, found ``
    [folder]/model.safetensors.index.json: tensor `a`: expected the name of a file beside the index, found `shards/`
    [folder]/model.safetensors.index.json: key `weight_map`: expected the shard of each tensor, found no tensor
    ");
}

#[test]
fn an_index_that_is_none() {
    let with = |text: &str| refusal(&sharded().with("model.safetensors.index.json", text));
    let twice = format!(r#"{{"weight_map": {{"a": "{FIRST}", "a": "{SECOND}"}}}}"#);
    let messages = [
        with(""),
        with("[]"),
        with("{}"),
        with(r#"{"weight_map": ["a"]}"#),
        with(r#"{"weight_map": {"a": 1}}"#),
        with(&twice),
    ];
    insta::assert_snapshot!(messages.join("\n"), @"
    [folder]/model.safetensors.index.json: line 1, column 1: EOF while parsing a value
    [folder]/model.safetensors.index.json: line 1, column 2: invalid length 0, expected an object with the key `weight_map`
    [folder]/model.safetensors.index.json: line 1, column 2: missing field `weight_map`
    [folder]/model.safetensors.index.json: line 1, column 15: invalid type: sequence, expected an object with the shard of each tensor
    [folder]/model.safetensors.index.json: line 1, column 22: invalid type: integer `1`, expected a string
    [folder]/model.safetensors.index.json: key `weight_map`: tensor `a` is there twice
    ");
}

#[cfg(unix)]
#[test]
fn a_folder_in_the_place_of_a_shard() {
    let folder = sharded();
    std::fs::remove_file(folder.path().join(SECOND)).unwrap();
    std::fs::create_dir(folder.path().join(SECOND)).unwrap();
    insta::assert_snapshot!(refusal(&folder), @"[folder]/model-00002-of-00002.safetensors: expected a file, found a folder or a device");
}
