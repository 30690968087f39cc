//! The inputs that are looked at in full.

use tlbench_sdk::{ModelInfo, PluginError, Stimulus};

/// The plain input that shows the most, and the first of several rows, where padding and batches go wrong.
pub(crate) fn inputs(model: &ModelInfo) -> Result<Vec<&Stimulus>, PluginError> {
    let plain = || {
        model
            .stimuli
            .iter()
            .filter(|stimulus| stimulus.request.is_plain())
    };
    // The first of several, which `max_by_key` would not give.
    let fullest = plain()
        .rev()
        .max_by_key(|stimulus| stimulus.request.capture.len());
    let fullest = fullest.ok_or_else(|| PluginError::unsupported("there is no plain input"))?;
    let batch = plain().find(|stimulus| stimulus.request.shape()[0] > 1);
    let batch = batch.filter(|batch| batch.id != fullest.id);
    Ok(std::iter::once(fullest).chain(batch).collect())
}
