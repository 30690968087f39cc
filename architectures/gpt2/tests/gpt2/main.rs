//! What the adapter makes of a config, held against HF's `GPT2LMHeadModel`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../../src/adapter.rs"]
mod adapter;

mod config;
mod spec;
mod tensors;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tlbench_sdk::spec::AttentionSpec;
use tlbench_sdk::{ArchitectureAdapter, ConfigError, ConfigReader, ModelSpec};

use adapter::Gpt2;

fn reader(config: Value) -> ConfigReader {
    let Value::Object(config) = config else {
        panic!("a config is an object")
    };
    ConfigReader::new(config)
}

fn try_spec(config: Value) -> Result<ModelSpec, ConfigError> {
    Gpt2.spec(&reader(config))
}

fn spec(config: Value) -> ModelSpec {
    try_spec(config).unwrap()
}

fn attention(spec: &ModelSpec, layer: usize) -> &AttentionSpec {
    &spec.layers[layer].attn.as_ref().unwrap().body
}

/// The folders of the checkpoints that HF wrote.
fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    ["tiny", "trained"].map(|name| folder.join(name)).to_vec()
}

fn config_of(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

/// The config of the one that is made for porting faults.
fn fixture_config() -> Value {
    config_of(&fixtures()[0])
}
