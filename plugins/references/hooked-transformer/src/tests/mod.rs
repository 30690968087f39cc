//! What has to hold, whatever the weights.

mod edits;
mod gradients;
mod hf;
mod pieces;
mod processing;
mod questions;
mod small;
