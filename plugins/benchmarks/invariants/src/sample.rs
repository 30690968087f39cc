//! What is asked about anew: everything of a small model, and a part of it of a large one.
//!
//! Each question costs a large model a walk through all of its weights.

use tlbench_sdk::{ModelInfo, Stimulus, is_large, is_padded};

/// All `inputs` of a small model; of a large one the first without padding and the first with it, of more than one token
/// where there is such a one.
pub(crate) fn sample<'a>(
    model: &ModelInfo,
    inputs: impl Iterator<Item = &'a Stimulus>,
) -> Vec<&'a Stimulus> {
    if !is_large(&model.parameters) {
        return inputs.collect();
    }
    let (padded, whole): (Vec<_>, Vec<_>) =
        inputs.partition(|stimulus| is_padded(&stimulus.request.inputs));
    let is_longer = |stimulus: &&&Stimulus| stimulus.request.shape()[1] > 1;
    let first = |kind: Vec<&'a Stimulus>| {
        let longer = kind.iter().find(is_longer);
        longer.or(kind.first()).copied()
    };
    first(whole).into_iter().chain(first(padded)).collect()
}

/// Where an input of `pos` tokens is cut: behind the first token, in the middle, and before the last; of a large model in
/// the middle alone.
pub(crate) fn cuts(model: &ModelInfo, pos: usize) -> Vec<usize> {
    let mut cuts = if is_large(&model.parameters) {
        vec![pos / 2]
    } else {
        vec![1, pos / 2, pos - 1]
    };
    cuts.retain(|&cut| cut > 0);
    cuts.dedup();
    cuts
}
