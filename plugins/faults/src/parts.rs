//! The parts of a spec of one kind, wherever they are.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, BranchInput, DenseMlp, LayerSpec, MlpSpec, MoeSpec, NormSpec,
    PositionSpec, ProjectionSpec, RotarySpec,
};

pub(crate) fn attentions(spec: &mut ModelSpec) -> impl Iterator<Item = &mut AttentionSpec> {
    let layers = spec.layers.iter_mut();
    layers.filter_map(|layer| Some(&mut layer.attn.as_mut()?.body))
}

pub(crate) fn rotaries(spec: &mut ModelSpec) -> impl Iterator<Item = &mut RotarySpec> {
    attentions(spec).filter_map(|attention| match &mut attention.position {
        PositionSpec::Rotary(rotary) => Some(rotary),
        PositionSpec::None | PositionSpec::Alibi(_) | PositionSpec::RelativeBias(_) => None,
    })
}

fn bodies(spec: &mut ModelSpec) -> impl Iterator<Item = &mut MlpSpec> {
    let layers = spec.layers.iter_mut();
    layers.filter_map(|layer| Some(&mut layer.mlp.as_mut()?.body))
}

pub(crate) fn moes(spec: &mut ModelSpec) -> impl Iterator<Item = &mut MoeSpec> {
    bodies(spec).filter_map(|body| match body {
        MlpSpec::Moe(moe) => Some(moe),
        MlpSpec::Dense(_) => None,
    })
}

/// Dense bodies, and each expert.
pub(crate) fn networks(spec: &mut ModelSpec) -> impl Iterator<Item = &mut DenseMlp> {
    bodies(spec).flat_map(networks_of)
}

/// A dense body itself, or each expert.
pub(crate) fn networks_of(body: &mut MlpSpec) -> Vec<&mut DenseMlp> {
    match body {
        MlpSpec::Dense(dense) => vec![dense],
        MlpSpec::Moe(moe) => moe
            .experts
            .iter_mut()
            .chain(moe.shared.as_deref_mut())
            .collect(),
    }
}

/// One kind of activation everywhere in the place of others.
pub(crate) fn activations(spec: &mut ModelSpec, from: &[Activation], to: Activation) {
    for network in networks(spec).filter(|network| from.contains(&network.activation)) {
        network.activation = to;
    }
}

/// The norms before the branches of a layer.
pub(crate) fn input_norms(layer: &mut LayerSpec) -> impl Iterator<Item = &mut NormSpec> {
    let attn = layer.attn.as_mut().map(|branch| &mut branch.input);
    let mlp = layer.mlp.as_mut().map(|branch| &mut branch.input);
    let inputs = attn.into_iter().chain(mlp);
    inputs.filter_map(|input| match input {
        BranchInput::Norm(norm) => Some(norm),
        BranchInput::Stream | BranchInput::SharedNorm => None,
    })
}

/// The norms that something reads through which can take their gains: before each branch, and the last one.
pub(crate) fn folded_norms(spec: &mut ModelSpec) -> impl Iterator<Item = &mut NormSpec> {
    let inputs = spec.layers.iter_mut().flat_map(input_norms);
    inputs.chain(&mut spec.final_norm)
}

/// The norms after the branches of a layer.
pub(crate) fn output_norms(layer: &mut LayerSpec) -> [Option<&mut Option<NormSpec>>; 2] {
    [
        layer.attn.as_mut().map(|branch| &mut branch.output_norm),
        layer.mlp.as_mut().map(|branch| &mut branch.output_norm),
    ]
}

/// Every norm of the stream: of the embedding, of each branch, and the last one.
pub(crate) fn norms(spec: &mut ModelSpec) -> impl Iterator<Item = &mut NormSpec> {
    let inner = spec.layers.iter_mut().flat_map(|layer| {
        let LayerSpec { attn, mlp, .. } = layer;
        let attn = attn
            .iter_mut()
            .flat_map(|branch| branch_norms(&mut branch.input, &mut branch.output_norm));
        let mlp = mlp
            .iter_mut()
            .flat_map(|branch| branch_norms(&mut branch.input, &mut branch.output_norm));
        attn.chain(mlp).collect::<Vec<_>>()
    });
    let embedding = spec.embedding.norm.as_mut();
    embedding
        .into_iter()
        .chain(inner)
        .chain(&mut spec.final_norm)
}

fn branch_norms<'a>(
    input: &'a mut BranchInput,
    output: &'a mut Option<NormSpec>,
) -> impl Iterator<Item = &'a mut NormSpec> {
    let input = match input {
        BranchInput::Norm(norm) => Some(norm),
        BranchInput::Stream | BranchInput::SharedNorm => None,
    };
    input.into_iter().chain(output)
}

/// Every norm of queries or keys.
pub(crate) fn head_norms(spec: &mut ModelSpec) -> impl Iterator<Item = &mut NormSpec> {
    attentions(spec).flat_map(|attention| {
        let norms = attention.qk_norm.iter_mut();
        norms.flat_map(|norms| [&mut norms.q.norm, &mut norms.k.norm])
    })
}

/// Queries, keys and values.
pub(crate) fn projections(attention: &mut AttentionSpec) -> [&mut ProjectionSpec; 3] {
    [&mut attention.q, &mut attention.k, &mut attention.v]
}
