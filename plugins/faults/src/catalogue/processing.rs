//! What is done to weights in compatibility mode.

use tlbench_sdk::spec::NormKind;
use tlbench_sdk::{
    Change, FaultEdit, Feature, ModelSpec, ProcessingStep, QuestionEdit, Runs, WeightEdit,
};

use crate::parts::{attentions, folded_norms, norms};
use crate::zoo::{Entry, Make};

const fn fault(id: &'static str, description: &'static str, make: Make) -> Entry {
    Entry::new(Feature::Processing, id, description, make)
}

pub(crate) const FAULTS: &[Entry] = &[
    fault(
        "fold-bias-lost",
        "folded norms whose biases are lost",
        Make::Spec(Runs::Processed, |spec| {
            folded_norms(spec).for_each(|norm| norm.bias = None);
        }),
    ),
    fault(
        "fold-gain-lost",
        "folded norms whose gains are lost",
        Make::Spec(Runs::Processed, |spec| {
            folded_norms(spec).for_each(|norm| (norm.gain, norm.gain_offset) = (None, 0.0));
        }),
    ),
    fault(
        "fold-twice",
        "gains of norms that are folded twice",
        Make::Edits(folded_twice),
    )
    .made_in(&["https://github.com/TransformerLensOrg/TransformerLens/pull/1770"]),
    fault(
        "rms-centred",
        "writing weights that are centred although norms leave the mean in",
        Make::Edits(rms_centred),
    ),
    fault(
        "capped-unembed-centred",
        "an unembedding that is centred although logits have a softcap",
        Make::Edits(capped_unembed_centred),
    ),
    fault(
        "writing-left-uncentred",
        "writing weights that keep their mean",
        Make::Edits(|spec| left_out(spec, ProcessingStep::CenterWritingWeights)),
    ),
    fault(
        "unembed-left-uncentred",
        "an unembedding that keeps its mean",
        Make::Edits(|spec| left_out(spec, ProcessingStep::CenterUnembed)),
    ),
    fault(
        "value-bias-lost",
        "biases of values that are folded into nothing",
        Make::Spec(Runs::Processed, |spec| {
            attentions(spec).for_each(|attention| attention.v.bias = None);
        }),
    ),
    fault(
        "value-bias-folded-twice",
        "biases of values that are folded twice",
        Make::Edits(value_bias_twice),
    ),
];

/// Weights of this name in every block.
fn in_blocks(spec: &ModelSpec, name: &str) -> Vec<String> {
    let blocks = 0..spec.layers.len();
    blocks
        .map(|block| format!("blocks.{block}.{name}"))
        .collect()
}

/// Where norms centre, folding is more than a factor.
fn folded_twice(spec: &ModelSpec) -> Vec<FaultEdit> {
    let mut copy = spec.clone();
    let all_rms = norms(&mut copy).all(|norm| norm.kind == NormKind::RmsNorm);
    if !all_rms || ProcessingStep::FoldLn.refusal(spec).is_some() {
        return Vec::new();
    }
    vec![FaultEdit::Weights(WeightEdit::StepTwice {
        weights: vec!["unembed.W_U".to_owned()],
        step: ProcessingStep::FoldLn,
        by: Change::Factor,
    })]
}

fn rms_centred(spec: &ModelSpec) -> Vec<FaultEdit> {
    let mut copy = spec.clone();
    if norms(&mut copy).all(|norm| norm.kind == NormKind::LayerNorm) {
        return Vec::new();
    }
    vec![FaultEdit::Weights(WeightEdit::Centred {
        weights: vec!["embed.W_E".to_owned()],
        dim: 1,
    })]
}

fn capped_unembed_centred(spec: &ModelSpec) -> Vec<FaultEdit> {
    let capped = spec.unembed.softcap.map(|_| {
        FaultEdit::Weights(WeightEdit::Centred {
            weights: vec!["unembed.W_U".to_owned()],
            dim: 1,
        })
    });
    capped.into_iter().collect()
}

fn left_out(spec: &ModelSpec, step: ProcessingStep) -> Vec<FaultEdit> {
    match step.refusal(spec) {
        Some(_) => Vec::new(),
        None => vec![FaultEdit::Question(QuestionEdit::StepLeftOut(step))],
    }
}

fn value_bias_twice(spec: &ModelSpec) -> Vec<FaultEdit> {
    let step = ProcessingStep::FoldValueBiases;
    if step.refusal(spec).is_some() {
        return Vec::new();
    }
    vec![FaultEdit::Weights(WeightEdit::StepTwice {
        weights: in_blocks(spec, "attn.b_O"),
        step,
        by: Change::Summand,
    })]
}
