//! Does a model show all of its activations, are they right, and do they belong together?
//!
//! * `run_with_cache`: every hook fires, in its shape, finite, and shows the same whatever else is looked at.
//! * `activation_cache`: every cached value equals the reference's.
//! * `residual_identities`: what is added up along the stream, a norm's parts and a head's add up, whatever the reference.

mod activation_cache;
mod addends;
mod identities;
mod inputs;
mod judged;
mod residual_identities;
mod run_with_cache;
#[cfg(test)]
mod tests;
mod values;
mod wording;

tlbench_sdk::plugin! {
    benchmarks: [
        run_with_cache::RunWithCache,
        activation_cache::ActivationCache,
        residual_identities::ResidualIdentities,
    ],
}

/// The module that all three belong to.
const MODULE: &str = "activation_cache";

/// What they have in common, for a person who asks.
const EXPLAINED: &str = include_str!("explained.txt");
