//! GPT-NeoX and Pythia, as HuggingFace's `GPTNeoXForCausalLM` computes them.
//!
//! - Both branches read the block's input, each through a norm of its own, unless `use_parallel_residual` is off.
//! - A quarter of each head is rotated (`rotary_pct`, or `partial_rotary_factor` among the rotary parameters).
//! - Queries, keys and values are one product, head by head.
//! - The head is `embed_out` on disk and `lm_head` in the module tree of transformers 5.
//! - Older releases saved masks and wavelengths as tensors of the attention.

mod adapter;

tlbench_sdk::plugin! {
    architectures: [adapter::GptNeox],
}
