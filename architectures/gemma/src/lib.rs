//! Gemma, Gemma 2 and Gemma 3 (text), as HuggingFace's classes compute them.
//!
//! - Gains are stored around 0 and used around 1, those of heads included.
//! - The embedding is multiplied by the root of its width, rounded to the weights' precision, and tied to the head.
//! - Gemma 2 and 3 normalise what a branch puts out as well as what it reads, and scale scores by
//!   `query_pre_attn_scalar` instead of the width of a head.
//! - Gemma 2 caps scores and logits, and looks through a window in every other layer. A cap that is `null` is none; an
//!   absent one is HF's default.
//! - Gemma 3 caps logits alone, and only if asked: HF does not pass its `attn_logit_softcapping` on. It normalises each
//!   head of queries and keys, and has five layers with a window, and with wavelengths of their own, to one without.
//! - Gemma 1 takes `gelu` for its tanh approximation, and does not read `hidden_activation`.

mod adapter;
mod hyper;

tlbench_sdk::plugin! {
    architectures: [adapter::Gemma],
}
