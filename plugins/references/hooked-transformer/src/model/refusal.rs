//! What is not written down here.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, BranchInput, LayerSpec, MlpSpec, PositionSpec,
    ResidualSource, Wiring,
};

use crate::error::{Error, Result};

/// Refuses a spec that asks for more than there is, naming the component and what it asks for.
pub(crate) fn refuse_unimplemented(spec: &ModelSpec) -> Result<()> {
    first(
        "embed",
        &[
            (spec.embedding.scale.is_some(), "an embedding scale"),
            (spec.embedding.norm.is_some(), "a norm of the embedding"),
        ],
    )?;
    for (index, layer) in spec.layers.iter().enumerate() {
        refuse_layer(&format!("blocks.{index}"), layer)?;
    }
    first(
        "unembed",
        &[
            (spec.unembed.logit_scale != 1.0, "a scale of the logits"),
            (spec.unembed.softcap.is_some(), "a softcap of the logits"),
        ],
    )
}

fn refuse_layer(block: &str, layer: &LayerSpec) -> Result<()> {
    let parallel = layer.wiring == Wiring::Parallel;
    first(block, &[(parallel, "parallel attention and MLP")])?;
    if let Some(branch) = &layer.attn {
        let name = format!("{block}.attn");
        refuse_branch(&name, branch)?;
        refuse_attention(&name, &branch.body)?;
    }
    if let Some(branch) = &layer.mlp {
        let name = format!("{block}.mlp");
        refuse_branch(&name, branch)?;
        refuse_mlp(&name, &branch.body)?;
    }
    Ok(())
}

fn refuse_branch<T>(name: &str, branch: &Branch<T>) -> Result<()> {
    let has_norm = matches!(branch.input, BranchInput::Norm(_));
    let from_stream = branch.residual == ResidualSource::Stream;
    first(
        name,
        &[
            (!has_norm, "a branch without a norm of its own"),
            (branch.output_norm.is_some(), "a norm of a branch's output"),
            (branch.sum_norm.is_some(), "a norm of the sum"),
            (branch.output_scale != 1.0, "a scale of a branch's output"),
            (!from_stream, "a residual taken after the norm"),
        ],
    )
}

fn refuse_attention(name: &str, spec: &AttentionSpec) -> Result<()> {
    let positions = spec.position != PositionSpec::None;
    first(
        name,
        &[
            (
                spec.n_kv_heads != spec.n_heads,
                "fewer key and value heads than query heads",
            ),
            (spec.clip_qkv.is_some(), "clipping of q, k and v"),
            (spec.qk_norm.is_some(), "norms of queries and keys"),
            (positions, "positions inside attention"),
            (spec.softcap.is_some(), "a softcap of the scores"),
            (spec.sinks.is_some(), "attention sinks"),
        ],
    )
}

fn refuse_mlp(name: &str, spec: &MlpSpec) -> Result<()> {
    let MlpSpec::Dense(dense) = spec else {
        return first(name, &[(true, "a mixture of experts")]);
    };
    let gated =
        dense.gate.is_some() || matches!(dense.activation, Activation::ClampedSwiglu { .. });
    first(name, &[(gated, "a gated MLP")])
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
