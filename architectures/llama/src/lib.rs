//! Llama and the families that are the same with other values: Mistral, Qwen2 and Qwen3.
//!
//! RMS norms before each branch, grouped queries, rotary positions, and a gated MLP. What tells them apart:
//!
//! - Biases: of all four attention products where `attention_bias` says so (Llama, Qwen3), of queries, keys and values
//!   alone (Qwen2), of the MLP (`mlp_bias`, Llama).
//! - Windows: on every layer (Mistral), or from layer `max_window_layers` on and only with `use_sliding_window`
//!   (Qwen2, Qwen3), unless `layer_types` names them.
//! - Qwen3 normalises each head of queries and keys before it rotates them.
//! - `head_dim` need not be the width over the heads, and Qwen3's is 128 whatever the width. Qwen2 reads it for the
//!   attention, as an undeclared key.
//! - Mistral's default for the key heads is 8, the Qwens' 32, and Llama's as many as queries have.

mod adapter;
mod family;

use adapter::LlamaLike;

tlbench_sdk::plugin! {
    architectures: [
        LlamaLike(family::LLAMA),
        LlamaLike(family::MISTRAL),
        LlamaLike(family::QWEN2),
        LlamaLike(family::QWEN3),
    ],
}
