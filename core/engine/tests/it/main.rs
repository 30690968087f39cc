//! The engine on a small model of its own making: what every hook has to obey, whatever the weights.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a helper fails the test"
)]

mod chunks;
mod generation;
mod gradients;
mod hooks;
mod inputs;
mod kv_cache;
mod laws;
mod model;
mod refusals;
