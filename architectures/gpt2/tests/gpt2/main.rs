//! What the adapter makes of a config, held against HF's `GPT2LMHeadModel`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../../src/adapter.rs"]
mod adapter;
#[path = "../../../held.rs"]
mod held;

mod config;
mod spec;
mod tensors;

use serde_json::Value;
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::AttentionSpec;

use adapter::Gpt2;

/// The checkpoints that HF wrote; the first is made for porting faults.
const FIXTURES: [&str; 2] = ["tiny", "trained"];

fn spec(config: Value) -> ModelSpec {
    held::spec(&Gpt2, config)
}

fn attention(spec: &ModelSpec, layer: usize) -> &AttentionSpec {
    &spec.layers[layer].attn.as_ref().unwrap().body
}
