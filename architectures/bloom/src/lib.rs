//! Bloom, as HuggingFace's `BloomForCausalLM` computes it.
//!
//! - Positions are linear biases of the scores, counted from the first key, which a softmax cannot tell from distances.
//!   Heads beyond a power of two take their slopes from between the others'.
//! - The token embedding is normalised before the first block.
//! - Queries, keys and values are one product, head by head.
//! - Attention and MLP add the residual within their own modules, so a branch's output shows at its last product.
//! - The residual may be the normalised input (`apply_residual_connection_post_layernorm`).
//! - The original checkpoints were saved from the inner model, without the `transformer.` prefix.

mod adapter;

tlbench_sdk::plugin! {
    architectures: [adapter::Bloom],
}
