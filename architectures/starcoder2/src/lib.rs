//! StarCoder2, as HuggingFace's `Starcoder2ForCausalLM` computes it.
//!
//! Llama's blocks with grouped queries and rotary positions, but GPT-2's norms and MLP:
//!
//! - Layer norms with biases before each branch, and an MLP without a gate (`c_fc`, `c_proj`).
//! - Biases of all products where `use_bias` says so, which is the default; the norms always have theirs.
//! - A window on every layer where `sliding_window` is there. The published models have 4096 of 16384 positions.
//! - `head_dim` is no field of HF's config class, but its attention reads it.

mod adapter;

tlbench_sdk::plugin! {
    architectures: [adapter::Starcoder2],
}
