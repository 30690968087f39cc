//! Is the forward pass right?
//!
//! * `forward_pass`: every hook that the reference shows, twice: with errors adding up, and locally, with every hook
//!   before it set to the truth. The first that fails locally is where it goes wrong.
//! * `logits_equivalence`: the logits, as numbers and as distributions.
//! * `loss_equivalence`: the loss of every next token.

mod forward_pass;
mod logits;
mod loss;
#[cfg(test)]
mod tests;
mod tolerance;

tlbench_sdk::plugin! {
    benchmarks: [forward_pass::ForwardPass, logits::LogitsEquivalence, loss::LossEquivalence],
}

/// The module that all three belong to.
const MODULE: &str = "forward_pass";

/// What all three have in common, for a person who asks.
const EXPLAINED: &str = include_str!("explained.txt");
