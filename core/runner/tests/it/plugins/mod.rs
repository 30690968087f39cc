//! Plugins, good and bad, as files that were really built.

mod benchmarks;
mod discovery;
mod files;
mod ids;
mod links;
mod panics;
mod references;
mod refusal;
mod specs;
mod tensors;
mod together;
