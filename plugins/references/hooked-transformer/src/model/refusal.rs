//! What is not written down here.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, DenseMlp, LayerSpec, MlpSpec, PositionSpec, ResidualSource, Wiring,
};

use crate::error::{Error, Result};

/// Refuses a spec that asks for more than there is, naming the component and what it asks for.
pub(crate) fn refuse_unimplemented(spec: &ModelSpec) -> Result<()> {
    for (index, layer) in spec.layers.iter().enumerate() {
        refuse_layer(&format!("blocks.{index}"), layer)?;
    }
    Ok(())
}

fn refuse_layer(block: &str, layer: &LayerSpec) -> Result<()> {
    if let Some(branch) = &layer.attn {
        refuse_attention(&format!("{block}.attn"), &branch.body)?;
    }
    let Some(branch) = &layer.mlp else {
        return Ok(());
    };
    let name = format!("{block}.mlp");
    let is_parallel = layer.wiring == Wiring::Parallel && layer.attn.is_some();
    let has_source = branch.residual == ResidualSource::Input || branch.sum_norm.is_some();
    first(
        &name,
        &[(
            is_parallel && has_source,
            "a residual of its own beside attention",
        )],
    )?;
    refuse_mlp(&name, &branch.body)
}

fn refuse_attention(name: &str, spec: &AttentionSpec) -> Result<()> {
    let is_biased = matches!(spec.position, PositionSpec::RelativeBias(_));
    first(
        name,
        &[
            (is_biased, "a learned bias by distance"),
            (spec.sinks.is_some(), "attention sinks"),
        ],
    )
}

fn refuse_mlp(name: &str, spec: &MlpSpec) -> Result<()> {
    match spec {
        MlpSpec::Dense(dense) => refuse_ungated(name, dense),
        MlpSpec::Moe(moe) => {
            for (index, expert) in moe.experts.iter().enumerate() {
                let ungated = expert.gate.is_none();
                let name = format!("{name}.experts.{index}");
                first(&name, &[(ungated, "an expert without a gate")])?;
            }
            moe.shared.as_ref().map_or(Ok(()), |shared| {
                refuse_ungated(&format!("{name}.shared"), shared)
            })
        }
    }
}

fn refuse_ungated(name: &str, dense: &DenseMlp) -> Result<()> {
    let needs_gate = matches!(dense.activation, Activation::ClampedSwiglu { .. });
    let ungated = needs_gate && dense.gate.is_none();
    first(name, &[(ungated, "a gated activation without a gate")])
}

/// Refuses the first feature that is asked for.
fn first(component: &str, features: &[(bool, &'static str)]) -> Result<()> {
    match features.iter().find(|(asked, _)| *asked) {
        Some((_, feature)) => Err(Error::NotImplemented {
            component: component.to_owned(),
            feature,
        }),
        None => Ok(()),
    }
}
