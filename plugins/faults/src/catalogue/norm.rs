//! Norms of the stream, of queries and keys.

use tlbench_sdk::spec::{BranchInput, LayerSpec, NormKind, NormSpec, ResidualSource, Wiring};
use tlbench_sdk::{Deviation, FaultEdit, Feature, ModelSpec, Runs};

use crate::parts::{head_norms, input_norms, norms, output_norms};
use crate::zoo::{Entry, Make};

const fn fault(id: &'static str, description: &'static str, edit: fn(&mut ModelSpec)) -> Entry {
    Entry::new(Feature::Norm, id, description, Make::Spec(Runs::All, edit))
}

const SMALL: &str = "rows of small norm";

pub(crate) const FAULTS: &[Entry] = &[
    fault(
        "norm-eps",
        "an epsilon of another family in every norm",
        |spec| {
            norms(spec).for_each(other_eps);
        },
    )
    .shown_by(SMALL)
    .made_in(&[
        "https://github.com/huggingface/candle/pull/271",
        "https://github.com/ggml-org/llama.cpp/pull/2384",
    ]),
    fault(
        "norm-eps-fifth",
        "an epsilon that is a fifth too large",
        |spec| norms(spec).for_each(|norm| norm.eps *= 1.2),
    )
    .shown_by(SMALL),
    Entry::new(
        Feature::Norm,
        "norm-eps-outside",
        "an epsilon that is added to the root, and not inside of it",
        Make::Edits(|_| vec![FaultEdit::Engine(Deviation::EpsOutsideRoot)]),
    )
    .shown_by(SMALL)
    .made_in(&[
        "https://github.com/tracel-ai/burn/pull/2186",
        "https://github.com/tracel-ai/burn/pull/2945",
    ]),
    Entry::new(
        Feature::Norm,
        "norm-bf16",
        "norms that are computed in bf16",
        Make::Edits(|_| vec![FaultEdit::Engine(Deviation::NormsInBf16)]),
    )
    .made_in(&["https://github.com/huggingface/transformers/pull/29402"]),
    fault("norm-gain-dropped", "norms without their gains", |spec| {
        norms(spec).for_each(|norm| (norm.gain, norm.gain_offset) = (None, 0.0));
    }),
    fault("norm-bias-dropped", "norms without their biases", |spec| {
        norms(spec).for_each(|norm| norm.bias = None);
    }),
    fault(
        "norm-offset-missing",
        "gains to which 1 is not added, where they are stored around 0",
        |spec| norms(spec).for_each(|norm| norm.gain_offset = 0.0),
    )
    .made_in(&["https://github.com/huggingface/transformers/pull/29402"]),
    fault(
        "norm-offset-twice",
        "gains to which 1 is added twice, where they are stored around 0",
        |spec| norms(spec).for_each(|norm| norm.gain_offset *= 2.0),
    )
    .made_in(&["https://github.com/ml-explore/mlx-lm/pull/1623"]),
    fault(
        "norm-kind",
        "norms that take the mean out where they should not, or leave it in where they should",
        |spec| norms(spec).for_each(other_kind),
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/issues/173"]),
    fault(
        "norms-exchanged",
        "the norms before attention and before the MLP in each other's place",
        |spec| spec.layers.iter_mut().for_each(exchange),
    )
    .made_in(&["https://github.com/huggingface/candle/pull/1219"]),
    fault(
        "norm-shared",
        "one norm before both branches, where each has its own",
        share,
    ),
    fault(
        "norm-before-missing",
        "attention that reads the stream without a norm",
        |spec| {
            for branch in spec
                .layers
                .iter_mut()
                .filter_map(|layer| layer.attn.as_mut())
            {
                branch.input = BranchInput::Stream;
            }
        },
    ),
    fault(
        "norm-after-missing",
        "outputs of branches that join the stream without their norm",
        |spec| each_output_norm(spec, |norm| *norm = None),
    ),
    fault(
        "norm-pre-for-post",
        "the norms before and after each branch in each other's place",
        pre_for_post,
    ),
    fault(
        "final-norm-missing",
        "no norm before the unembedding",
        |spec| {
            spec.final_norm = None;
        },
    )
    .made_in(&["https://github.com/huggingface/candle/pull/1120"]),
    fault(
        "residual-source",
        "branches that are added to the stream where they are added to the normed input, or the reverse",
        residual_source,
    ),
    fault(
        "qk-norm-eps",
        "an epsilon of another family in the norms of queries and keys",
        |spec| head_norms(spec).for_each(other_eps),
    )
    .shown_by(SMALL),
    fault(
        "qk-norm-gain-dropped",
        "norms of queries and keys without their gains",
        |spec| head_norms(spec).for_each(|norm| (norm.gain, norm.gain_offset) = (None, 0.0)),
    ),
];

fn other_eps(norm: &mut NormSpec) {
    norm.eps = if norm.eps == 1e-6 { 1e-5 } else { 1e-6 };
}

fn other_kind(norm: &mut NormSpec) {
    norm.kind = match norm.kind {
        NormKind::LayerNorm => NormKind::RmsNorm,
        NormKind::RmsNorm => NormKind::LayerNorm,
    };
}

fn exchange(layer: &mut LayerSpec) {
    let mut norms = input_norms(layer);
    if let (Some(first), Some(second)) = (norms.next(), norms.next()) {
        std::mem::swap(first, second);
    }
}

fn share(spec: &mut ModelSpec) {
    for layer in &mut spec.layers {
        let first = layer.attn.as_ref().and_then(|branch| branch.input_norm());
        let first = first.cloned();
        let second = layer.mlp.as_mut().map(|branch| &mut branch.input);
        if let (Some(first), Some(BranchInput::Norm(second))) = (first, second) {
            *second = first;
        }
    }
}

fn each_output_norm(spec: &mut ModelSpec, edit: impl Fn(&mut Option<NormSpec>)) {
    let layers = spec.layers.iter_mut();
    layers.flat_map(output_norms).flatten().for_each(edit);
}

fn pre_for_post(spec: &mut ModelSpec) {
    let swap = |input: &mut BranchInput, output: &mut Option<NormSpec>| {
        if let (BranchInput::Norm(before), Some(after)) = (input, output) {
            std::mem::swap(before, after);
        }
    };
    for LayerSpec { attn, mlp, .. } in &mut spec.layers {
        if let Some(branch) = attn {
            swap(&mut branch.input, &mut branch.output_norm);
        }
        if let Some(branch) = mlp {
            swap(&mut branch.input, &mut branch.output_norm);
        }
    }
}

/// Only where a branch has a norm is its input another thing than the stream, and only one after the other.
fn residual_source(spec: &mut ModelSpec) {
    let other = |source: &mut ResidualSource| {
        *source = match source {
            ResidualSource::Stream => ResidualSource::Input,
            ResidualSource::Input => ResidualSource::Stream,
        };
    };
    let in_turn = |layer: &&mut LayerSpec| layer.wiring == Wiring::Sequential;
    for LayerSpec { attn, mlp, .. } in spec.layers.iter_mut().filter(in_turn) {
        if let Some(branch) = attn.as_mut().filter(|branch| branch.input_norm().is_some()) {
            other(&mut branch.residual);
        }
        if let Some(branch) = mlp.as_mut().filter(|branch| branch.input_norm().is_some()) {
            other(&mut branch.residual);
        }
    }
}
