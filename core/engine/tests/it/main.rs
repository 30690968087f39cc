//! The engine on a small model of its own making: what every hook has to obey, whatever the weights.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a helper fails the test"
)]

mod activation_cache;
mod attention;
mod cache_options;
mod chunks;
mod closures;
mod components;
mod experts;
mod features;
mod folding;
mod generation;
mod gradients;
mod hooks;
mod inputs;
mod kv_cache;
mod laws;
mod model;
mod processing;
mod refusals;
mod weight_edits;

#[path = "../../../sdk/tests/families/bloom.rs"]
mod bloom;
#[path = "../../../sdk/tests/families/gemma2.rs"]
mod gemma2;
#[path = "../../../sdk/tests/families/gpt_neox.rs"]
mod gpt_neox;
#[path = "../../../sdk/tests/families/llama.rs"]
mod llama;
#[path = "../../../sdk/tests/families/mixtral.rs"]
mod mixtral;
