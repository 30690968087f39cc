//! Runs a [`ModelSpec`](tlbench_sdk::ModelSpec) with its weights on candle, with a hook at every step.
//!
//! The names, shapes and meaning of the hooks are HookedTransformer's; weights stay as HuggingFace stores them, and
//! operations are done in HuggingFace's order.

mod arithmetic;
mod bridge;
mod components;
mod convert;
mod error;
mod gradients;
mod inputs;
mod loss;
mod model;
mod objective;
mod ops;
mod precision;
mod probe;
mod rounding;
mod tape;
mod weights;

pub use arithmetic::Arithmetic;
pub use bridge::Bridge;
pub use error::EngineError;
pub use rounding::RoundingReference;
