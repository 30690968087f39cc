//! Verdicts on a small model whose activations are made up, so that they belong together.

mod cache;
mod families;
mod identities;
mod model;
