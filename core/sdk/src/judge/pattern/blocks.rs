//! Which blocks fail by themselves.

use std::iter::zip;

use super::wording::listed;
use crate::hooks::{layer_of, short_name};
use crate::result::{Divergence, Measurement, Severity};
use crate::spec::{LayerSpec, Mask, MlpSpec, ModelSpec};
use crate::trace::Evaluation;

/// A feature that some blocks have.
type Feature = fn(&LayerSpec) -> bool;

/// What sets blocks apart, and how those with it and those without are called.
const FEATURES: [(Feature, [&str; 2]); 2] = [
    (
        has_window,
        ["those with a window", "those without a window"],
    ),
    (has_experts, ["those with experts", "those without experts"]),
];

/// In which blocks the hook of `divergence` fails locally, where there are several.
pub(in super::super) fn failing_blocks(
    spec: &ModelSpec,
    measurements: &[Measurement],
    divergence: &Divergence,
) -> Option<String> {
    if divergence.evaluation != Evaluation::Local {
        return None;
    }
    let short = short_name(divergence.quantity.as_hook()?);
    let in_block = |m: &Measurement| {
        let hook = m.quantity.as_hook()?;
        let is_same = m.evaluation == Evaluation::Local && short_name(hook) == short;
        Some((layer_of(hook)?, m.severity)).filter(|_| is_same)
    };
    let measured: Vec<(usize, Severity)> = measurements.iter().filter_map(in_block).collect();
    let failed = |(_, severity): &&(usize, Severity)| *severity == Severity::Danger;
    let wrong: Vec<usize> = measured
        .iter()
        .filter(failed)
        .map(|(block, _)| *block)
        .collect();
    let blocks: Vec<usize> = measured.iter().map(|(block, _)| *block).collect();
    if blocks.len() < 2 || wrong.is_empty() {
        return None;
    }
    if wrong == blocks {
        return Some(format!("each of the {} blocks", blocks.len()));
    }
    let told = format!("{} of {}", listed("block", &wrong), blocks.len());
    Some(match what_they_are(spec, &wrong, &blocks) {
        Some(what) => format!("{told}: {what}"),
        None => told,
    })
}

/// What sets the `wrong` ones apart from the other `blocks`.
fn what_they_are(spec: &ModelSpec, wrong: &[usize], blocks: &[usize]) -> Option<&'static str> {
    FEATURES.iter().find_map(|(feature, names)| {
        zip([true, false], names).find_map(|(wanted, name)| {
            let has = |block: &&usize| spec.layers.get(**block).is_some_and(feature) == wanted;
            let with: Vec<usize> = blocks.iter().filter(has).copied().collect();
            (with == wrong).then_some(*name)
        })
    })
}

fn has_window(layer: &LayerSpec) -> bool {
    let attention = layer.attn.as_ref().map(|branch| branch.body.mask);
    attention.is_some_and(|mask| match mask {
        Mask::Band { back, .. } => back.is_some(),
        Mask::Chunked { .. } => true,
    })
}

fn has_experts(layer: &LayerSpec) -> bool {
    let mlp = layer.mlp.as_ref().map(|branch| &branch.body);
    matches!(mlp, Some(MlpSpec::Moe(_)))
}
