//! Mixtral, OLMoE and Qwen3-MoE, as HuggingFace's classes compute them: Llama's blocks with experts for an MLP.
//!
//! - A router's softmax runs over all experts, before the choice. Mixtral divides the chosen weights by their sum; the
//!   others do where `norm_topk_prob` says so, which is not their default.
//! - In memory HF keeps all experts of a layer in one tensor; checkpoints hold each by itself, and Mixtral's under
//!   other names (`block_sparse_moe`, `w1`) than its modules have.
//! - Mixtral looks through a window on every layer, or on none; Qwen3-MoE does with `use_sliding_window` alone. OLMoE
//!   reads none.
//! - OLMoE normalises queries and keys over all heads together, then clips them and the values to `clip_qkv`.
//!   Qwen3-MoE normalises each head.
//! - Qwen3-MoE has dense layers among the sparse ones (`mlp_only_layers`, `decoder_sparse_step`), of a width of their
//!   own.

mod adapter;
mod family;
mod hyper;

tlbench_sdk::plugin! {
    architectures: [adapter::Mixtral],
}
