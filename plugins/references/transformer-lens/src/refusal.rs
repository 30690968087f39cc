//! What TransformerLens is not asked about here.

use tlbench_sdk::spec::{
    AttentionSpec, Branch, BranchInput, LayerSpec, Mask, MlpSpec, NormKind, NormSpec, PositionSpec,
    ResidualSource, Wiring,
};
use tlbench_sdk::{ModelSpec, PluginError};

/// Refuses a spec with a part that GPT-2 does not have, naming the component and the part.
pub(crate) fn refuse_beyond_gpt2(spec: &ModelSpec) -> Result<(), PluginError> {
    let embedding = &spec.embedding;
    let offset = embedding.positions.as_ref().map(|table| table.offset);
    first(
        "embed",
        &[
            (offset.is_none(), "positions that are not learned"),
            (offset > Some(0), "a table of positions with an offset"),
            (embedding.scale.is_some(), "an embedding scale"),
            (embedding.norm.is_some(), "a norm of the embedding"),
        ],
    )?;
    for (index, layer) in spec.layers.iter().enumerate() {
        refuse_layer(&format!("blocks.{index}"), layer)?;
    }
    if let Some(norm) = &spec.final_norm {
        refuse_norm("ln_final", norm)?;
    }
    first(
        "unembed",
        &[
            (spec.unembed.logit_scale != 1.0, "a scale of the logits"),
            (spec.unembed.softcap.is_some(), "a softcap of the logits"),
        ],
    )
}

pub(crate) fn unsupported(component: &str, feature: &str) -> PluginError {
    PluginError::unsupported(format!(
        "{component}: transformer-lens builds no model with {feature}"
    ))
}

fn refuse_layer(block: &str, layer: &LayerSpec) -> Result<(), PluginError> {
    let parallel = layer.wiring == Wiring::Parallel;
    let whole = layer.attn.is_some() && layer.mlp.is_some();
    first(
        block,
        &[
            (parallel, "parallel attention and MLP"),
            (!whole, "a block that lacks attention or MLP"),
        ],
    )?;
    if let Some(branch) = &layer.attn {
        let name = format!("{block}.attn");
        refuse_branch(&name, branch)?;
        refuse_attention(&name, &branch.body)?;
    }
    if let Some(branch) = &layer.mlp {
        let name = format!("{block}.mlp");
        refuse_branch(&name, branch)?;
        let (moe, gated) = match &branch.body {
            MlpSpec::Moe(_) => (true, false),
            MlpSpec::Dense(dense) => (false, dense.gate.is_some()),
        };
        first(
            &name,
            &[(moe, "a mixture of experts"), (gated, "a gated MLP")],
        )?;
    }
    Ok(())
}

fn refuse_branch<T>(name: &str, branch: &Branch<T>) -> Result<(), PluginError> {
    let BranchInput::Norm(norm) = &branch.input else {
        return Err(unsupported(name, "a branch that has no norm of its own"));
    };
    refuse_norm(name, norm)?;
    let from_stream = branch.residual == ResidualSource::Stream;
    first(
        name,
        &[
            (branch.output_norm.is_some(), "a norm of a branch's output"),
            (branch.sum_norm.is_some(), "a norm of the sum"),
            (branch.output_scale != 1.0, "a scale of a branch's output"),
            (!from_stream, "a residual taken after the norm"),
        ],
    )
}

fn refuse_attention(name: &str, spec: &AttentionSpec) -> Result<(), PluginError> {
    let grouped = spec.n_kv_heads != spec.n_heads;
    let positions = spec.position != PositionSpec::None;
    first(
        name,
        &[
            (grouped, "fewer key and value heads than query heads"),
            (spec.clip_qkv.is_some(), "clipping of q, k and v"),
            (spec.qk_norm.is_some(), "norms of queries and keys"),
            (positions, "positions inside attention"),
            (spec.softcap.is_some(), "a softcap of the scores"),
            (spec.sinks.is_some(), "attention sinks"),
            (
                spec.mask != Mask::CAUSAL,
                "another mask than the causal one",
            ),
        ],
    )
}

fn refuse_norm(name: &str, norm: &NormSpec) -> Result<(), PluginError> {
    first(
        name,
        &[
            (norm.kind != NormKind::LayerNorm, "an RMS norm"),
            (norm.gain_offset != 0.0, "a gain that is stored less 1"),
        ],
    )
}

/// Refuses the first feature that is asked for.
fn first(component: &str, features: &[(bool, &'static str)]) -> Result<(), PluginError> {
    match features.iter().find(|(asked, _)| *asked) {
        Some((_, feature)) => Err(unsupported(component, feature)),
        None => Ok(()),
    }
}
