//! Runs a [`ModelSpec`](tlbench_sdk::ModelSpec) with its weights on candle, with a hook at every step.
//!
//! The names, shapes and meaning of the hooks are HookedTransformer's; weights stay as HuggingFace stores them unless a
//! request wants them processed, and operations are done in HuggingFace's order.

mod activation_cache;
mod arithmetic;
mod bridge;
mod cache;
mod canonical_weights;
mod closures;
mod components;
mod convert;
mod edit;
mod error;
mod gradients;
mod hook_names;
mod in_order;
mod inputs;
mod last_pass;
mod loss;
mod model;
mod objective;
mod one_thread;
mod ops;
mod packing;
mod precision;
mod probe;
mod processed_weights;
mod processing;
mod rounding;
mod sampling;
mod tape;
mod weight_edits;
mod weights;

pub use activation_cache::{ActivationCache, Stack};
pub use arithmetic::Arithmetic;
pub use bridge::{Bridge, CacheOptions};
pub use cache::KvCache;
pub use canonical_weights::CanonicalWeights;
pub use closures::{HookResult, Hooks};
pub use error::EngineError;
pub use hook_names::HookNames;
pub use rounding::RoundingReference;
