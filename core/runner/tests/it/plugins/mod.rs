//! Plugins, good and bad, as files that were really built.

mod discovery;
mod panics;
mod refusal;
mod tensors;
mod together;
