//! The parts of a spec that have a table, by the names of their hooks.

use tlbench_sdk::ModelInfo;
use tlbench_sdk::spec::{AttentionSpec, MlpSpec, MoeSpec};

/// The attention of each block, with its name (`blocks.0.attn`).
pub(crate) fn attentions(model: &ModelInfo) -> impl Iterator<Item = (String, &AttentionSpec)> {
    let layers = model.spec.layers.iter().enumerate();
    layers.filter_map(|(index, layer)| {
        let branch = layer.attn.as_ref()?;
        Some((format!("blocks.{index}.attn"), &branch.body))
    })
}

/// The mixture of experts of each block that has one, with its name (`blocks.0.mlp`).
pub(crate) fn mixtures(model: &ModelInfo) -> impl Iterator<Item = (String, &MoeSpec)> {
    let layers = model.spec.layers.iter().enumerate();
    layers.filter_map(|(index, layer)| match &layer.mlp.as_ref()?.body {
        MlpSpec::Moe(moe) => Some((format!("blocks.{index}.mlp"), moe)),
        MlpSpec::Dense(_) => None,
    })
}
