//! Are weights processed as TransformerLens does, and does the model stay the same?
//!
//! * `weight_processing`: hooks, logits and distributions after every combination of steps.
//! * `layer_norm_folding`, `attention_output_centering`, `mlp_output_centering`, `unembed_centering`,
//!   `value_bias_folding`: each weight that a step changes, against its formula over raw weights.
//! * `no_nan_inf`, `weight_magnitudes`: every weight by itself.
//! * `weight_modification`, `weight_sharing`: what an edit of a weight does, and that nothing of it stays.
//! * `raw_untouched`: questions about processed weights leave the raw model as it is.

mod array;
mod comparison;
mod edit;
mod expected;
mod finite;
mod formulas;
mod magnitudes;
mod means;
mod modification;
mod parts;
mod questions;
mod readers;
mod rows;
mod sharing;
mod step;
#[cfg(test)]
mod tests;
mod tied;
mod ulps;
mod untouched;
mod values;
mod weight_processing;

tlbench_sdk::plugin! {
    benchmarks: [
        weight_processing::WeightProcessing,
        step::LAYER_NORM_FOLDING,
        step::ATTENTION_OUTPUT_CENTERING,
        step::MLP_OUTPUT_CENTERING,
        step::UNEMBED_CENTERING,
        step::VALUE_BIAS_FOLDING,
        finite::NoNanInf,
        magnitudes::WeightMagnitudes,
        modification::WeightModification,
        sharing::WeightSharing,
        untouched::RawUntouched,
    ],
}

/// The module that all of them belong to.
const MODULE: &str = "weight_processing";

/// What they have in common, for a person who asks.
const EXPLAINED: &str = include_str!("explained.txt");
