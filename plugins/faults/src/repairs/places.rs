//! The parts of a spec by the name of their component, and by JSON pointer.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{AttentionSpec, Branch, BranchInput, LayerSpec, MlpSpec, NormSpec};

/// Every norm, by the name of its component.
pub(super) fn norms_by_name(spec: &mut ModelSpec) -> Vec<(String, &mut NormSpec)> {
    let mut list = Vec::new();
    if let Some(norm) = &mut spec.embedding.norm {
        list.push(("embed.ln".to_owned(), norm));
    }
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let block = format!("blocks.{index}");
        let LayerSpec { attn, mlp, .. } = layer;
        if let Some(Branch {
            input,
            body,
            output_norm,
            sum_norm,
            ..
        }) = attn
        {
            push_norms(
                &mut list,
                &format!("{block}.ln1"),
                input,
                output_norm,
                sum_norm,
            );
            for (name, norm) in ["q", "k"].into_iter().zip(head_norms(body)) {
                list.push((format!("{block}.attn.{name}_norm"), norm));
            }
        }
        if let Some(Branch {
            input,
            output_norm,
            sum_norm,
            ..
        }) = mlp
        {
            push_norms(
                &mut list,
                &format!("{block}.ln2"),
                input,
                output_norm,
                sum_norm,
            );
        }
    }
    if let Some(norm) = &mut spec.final_norm {
        list.push(("ln_final".to_owned(), norm));
    }
    list
}

fn push_norms<'s>(
    list: &mut Vec<(String, &'s mut NormSpec)>,
    name: &str,
    input: &'s mut BranchInput,
    output: &'s mut Option<NormSpec>,
    sum: &'s mut Option<NormSpec>,
) {
    if let BranchInput::Norm(norm) = input {
        list.push((name.to_owned(), norm));
    }
    list.extend(output.iter_mut().map(|norm| (format!("{name}_post"), norm)));
    list.extend(sum.iter_mut().map(|norm| (format!("{name}_sum"), norm)));
}

fn head_norms(attention: &mut AttentionSpec) -> Vec<&mut NormSpec> {
    let norms = attention.qk_norm.as_mut();
    norms.map_or(Vec::new(), |norms| {
        vec![&mut norms.q.norm, &mut norms.k.norm]
    })
}

pub(super) fn attentions_by_name(spec: &mut ModelSpec) -> Vec<(String, &mut AttentionSpec)> {
    let layers = spec.layers.iter_mut().enumerate();
    layers
        .filter_map(|(index, layer)| {
            Some((
                format!("blocks.{index}.attn"),
                &mut layer.attn.as_mut()?.body,
            ))
        })
        .collect()
}

pub(super) fn mlps_by_name(spec: &mut ModelSpec) -> Vec<(String, &mut MlpSpec)> {
    let layers = spec.layers.iter_mut().enumerate();
    layers
        .filter_map(|(index, layer)| {
            Some((format!("blocks.{index}.mlp"), &mut layer.mlp.as_mut()?.body))
        })
        .collect()
}

pub(super) fn layers_by_name(spec: &mut ModelSpec) -> Vec<(String, &mut LayerSpec)> {
    let layers = spec.layers.iter_mut().enumerate();
    layers
        .map(|(index, layer)| (format!("blocks.{index}"), layer))
        .collect()
}
