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
mod ties;
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

/// The questions that ask for tokens, and have room for one.
fn generating(model: &ModelInfo) -> impl Iterator<Item = &Stimulus> {
    model.stimuli.iter().filter(|stimulus| {
        let generate = stimulus.request.generate.as_ref();
        generate.is_some_and(|generate| generate.max_new_tokens > 0)
    })
}

/// Refuses a model whose positions depend on the total length: with a cache, and in a batch, a token is encoded by a
/// length that it does not have in a run by itself.
fn refuse_positions_by_length(model: &ModelInfo) -> Result<(), PluginError> {
    if model.spec.positions_depend_on_length() {
        return Err(PluginError::unsupported(
            "positions depend on the total length, so a cached run legitimately differs",
        ));
    }
    Ok(())
}
