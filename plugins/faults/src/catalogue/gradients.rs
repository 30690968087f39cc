//! The way back.

use tlbench_sdk::{FaultEdit, Feature, ModelSpec, QuestionEdit, hooks};

use crate::zoo::{Entry, Make};

const fn fault(
    id: &'static str,
    description: &'static str,
    edits: fn(&ModelSpec) -> Vec<FaultEdit>,
) -> Entry {
    Entry::new(Feature::Gradient, id, description, Make::Edits(edits))
}

pub(crate) const FAULTS: &[Entry] = &[
    fault(
        "norm-scale-detached",
        "scales of norms as constants on the way back",
        |spec| {
            detached(spec, |name| {
                name.ends_with(".hook_scale") && !name.contains(".attn.")
            })
        },
    ),
    fault(
        "softmax-without-backward",
        "a softmax that no gradient flows through",
        |spec| detached(spec, |name| name.ends_with(".hook_attn_scores")),
    ),
    fault(
        "rotation-without-backward",
        "a rotation of queries that no gradient flows through",
        |spec| detached(spec, |name| name.ends_with(".hook_rot_q")),
    ),
    fault(
        "activation-without-backward",
        "an activation that no gradient flows through",
        |spec| {
            detached(spec, |name| {
                name.ends_with(".mlp.hook_pre") || name.ends_with(".hook_gate")
            })
        },
    ),
    fault(
        "embedding-detached",
        "a token embedding that gets no gradient: of a tied tensor the unembedding's part alone",
        |spec| detached(spec, |name| name == "hook_embed"),
    ),
    fault(
        "router-detached",
        "weights of experts as constants on the way back",
        |spec| detached(spec, |name| name.ends_with(".hook_expert_weights")),
    ),
    fault(
        "positions-detached",
        "learned positions that get no gradient",
        |spec| detached(spec, |name| name == "hook_pos_embed"),
    ),
];

/// Of the hooks that always fire.
fn detached(spec: &ModelSpec, is_meant: impl Fn(&str) -> bool) -> Vec<FaultEdit> {
    let all = hooks(spec).into_iter();
    let meant: Vec<String> = all
        .filter(|hook| hook.gate.is_none() && is_meant(&hook.name))
        .map(|hook| hook.name)
        .collect();
    if meant.is_empty() {
        return Vec::new();
    }
    vec![FaultEdit::Question(QuestionEdit::Detached { hooks: meant })]
}
