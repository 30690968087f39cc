//! GPT-2, as HuggingFace's `GPT2LMHeadModel` computes it.
//!
//! Pre-norm blocks with learned positions and biases everywhere. What sets it apart from later families:
//!
//! - Queries, keys and values are one product (`c_attn`), side by side rather than interleaved per head.
//! - Its products are `Conv1D`s, which store `[in, out]` where a `Linear` stores `[out, in]`. The head is a `Linear`.
//! - The original checkpoints were saved from the inner model, without the `transformer.` prefix and with the causal
//!   mask of each layer as a tensor.
//! - The head is tied to the token embedding unless the checkpoint holds a head of its own.
//! - Attention may be left unscaled, or be divided by the number of the layer as well.

mod adapter;

tlbench_sdk::plugin! {
    architectures: [adapter::Gpt2],
}
