//! The inputs that are looked at in full.

use tlbench_sdk::judge::richest;
use tlbench_sdk::{ModelInfo, PluginError, Stimulus};

/// The plain input that shows the most, and the first of several rows, where padding and batches go wrong.
pub(crate) fn inputs(model: &ModelInfo) -> Result<Vec<&Stimulus>, PluginError> {
    let richest = richest(model, |_| true)?;
    let is_batch =
        |stimulus: &&Stimulus| stimulus.request.is_plain() && stimulus.request.shape()[0] > 1;
    let batch = model.stimuli.iter().find(is_batch);
    let batch = batch.filter(|batch| batch.id != richest.id);
    Ok(std::iter::once(richest).chain(batch).collect())
}
