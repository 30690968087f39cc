//! Does generation work, with a cache and without, alone and in a batch?
//!
//! * `generation`: greedy tokens are the reference's.
//! * `generation_with_kv_cache`: the logits of every step are those of a run without a cache.
//! * `multiple_generation_calls`: nothing leaks from one call to the next.
//! * `batched_generation`: each row of a padded batch is what it is alone.

mod batched;
mod cached;
mod greedy;
mod repeated;
#[cfg(test)]
mod tests;
mod tokens;

use tlbench_sdk::{ModelInfo, PluginError, Stimulus};

tlbench_sdk::plugin! {
    benchmarks: [
        batched::BatchedGeneration,
        cached::GenerationWithKvCache,
        greedy::Generation,
        repeated::MultipleGenerationCalls,
    ],
}

/// The module that all belong to.
const MODULE: &str = "generation";

/// The questions that ask for tokens.
fn generating(model: &ModelInfo) -> impl Iterator<Item = &Stimulus> {
    model
        .stimuli
        .iter()
        .filter(|stimulus| stimulus.request.generate.is_some())
}

/// Why invariants of a cache do not hold: positions that depend on the total length.
fn refuse_length_dependent(model: &ModelInfo) -> Result<(), PluginError> {
    let depends = model.spec.layers.iter().any(|layer| {
        let attention = layer.attn.as_ref();
        attention.is_some_and(|branch| branch.body.position.depends_on_length())
    });
    if depends {
        return Err(PluginError::unsupported(
            "positions depend on the total length, so a cached run legitimately differs",
        ));
    }
    Ok(())
}
