//! What holds for any model, whoever implements it; no reference is asked for a value, only for how large rounding is.
//!
//! * `causality`: a later token changes nothing before it.
//! * `prefix`: a prefix alone gives what it gives at the beginning of a longer input.
//! * `batch_rows`: a row of a batch gives what it gives alone.
//! * `padding`: left and right padding change nothing.
//! * `absent_mask`: no attention mask means one of ones.
//! * `determinism`: the same question twice gives the same bits.
//! * `loss_identity`: the loss is the one that follows from the logits.

mod causality;
mod determinism;
mod loss;
mod mask;
mod rows;
mod sample;
mod tokens;
mod twins;

#[cfg(test)]
mod tests;

use tlbench_sdk::{ModelInfo, Quantity, Stimulus, TraceRequest};

tlbench_sdk::plugin! {
    benchmarks: [
        causality::Causality,
        causality::Prefix,
        determinism::Determinism,
        loss::LossIdentity,
        mask::AbsentMask,
        rows::BatchRows,
        rows::PaddingChangesNothing,
    ],
}

/// The module that all belong to.
const MODULE: &str = "invariants";

/// What all have in common, for a person who asks.
const EXPLAINED: &str = include_str!("explained.txt");

/// The plain inputs on which logits are looked at.
fn with_logits(model: &ModelInfo) -> impl Iterator<Item = &Stimulus> {
    let plain =
        |stimulus: &&Stimulus| stimulus.request.is_plain() && stimulus.shows(&Quantity::Logits);
    model.stimuli.iter().filter(plain)
}

/// The same question, about the logits alone.
fn for_logits(request: &TraceRequest) -> TraceRequest {
    TraceRequest {
        capture: vec![Quantity::Logits],
        ..request.clone()
    }
}
