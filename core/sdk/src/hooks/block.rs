//! The hook points of one block.

use super::{Dim, Gate, HookPoint, Points};
use crate::spec::{
    AttentionPort, AttentionSpec, Branch, BranchInput, DenseMlp, Extent, HfTap, LayerSpec, MlpSpec,
    ModelSpec, MoeSpec, Port, PositionSpec, ScoreOrder, TapStep, Wiring,
};

pub(super) fn block_hooks(points: &mut Points, spec: &ModelSpec, index: usize, layer: &LayerSpec) {
    let first = points.list.len();
    let block = format!("blocks.{index}");
    let stream = [Dim::Batch, Dim::Pos, Dim::sized("d_model", spec.d_model)];
    points.push(
        format!("{block}.hook_resid_pre"),
        &stream,
        layer.module.as_ref().map(HfTap::input),
    );
    if let Some(branch) = &layer.attn {
        attention_branch(points, &block, &stream, branch);
    }
    if let (Wiring::Sequential, Some(_), Some(mlp)) = (layer.wiring, &layer.attn, &layer.mlp) {
        points.push(
            format!("{block}.hook_resid_mid"),
            &stream,
            resid_mid_tap(mlp),
        );
    }
    if let Some(branch) = &layer.mlp {
        mlp_branch(points, &block, &stream, branch);
    }
    points.push(
        format!("{block}.hook_resid_post"),
        &stream,
        layer.module.as_ref().map(HfTap::output),
    );
    override_taps(&mut points.list[first..], &block, layer);
}

/// What the MLP branch reads before its norm is the stream after attention.
fn resid_mid_tap(mlp: &Branch<MlpSpec>) -> Option<HfTap> {
    match &mlp.input {
        BranchInput::Norm(norm) => norm.module.as_ref().map(HfTap::input),
        BranchInput::Stream => mlp.body.module().map(HfTap::input),
        BranchInput::SharedNorm => None,
    }
}

fn override_taps(points: &mut [HookPoint], block: &str, layer: &LayerSpec) {
    for point in points {
        let short = point
            .name
            .strip_prefix(block)
            .and_then(|rest| rest.strip_prefix('.'));
        if let Some(tap) = short.and_then(|short| layer.taps.get(short)) {
            point.hf_tap = Some(tap.clone());
        }
    }
}

fn attention_branch(
    points: &mut Points,
    block: &str,
    stream: &[Dim],
    branch: &Branch<AttentionSpec>,
) {
    let attention = &branch.body;
    let [_, _, d_model] = stream else { return };
    let (heads, kv_heads) = (
        Dim::sized("n_heads", attention.n_heads),
        Dim::sized("n_kv_heads", attention.n_kv_heads),
    );
    let per_head = |heads: &Dim| [Dim::Batch, Dim::Pos, heads.clone(), d_model.clone()];
    // One copy per query head cannot feed fewer key and value heads; HookedTransformer refuses it too.
    if attention.n_heads == attention.n_kv_heads {
        points.push_gated(
            format!("{block}.hook_attn_in"),
            &per_head(&heads),
            Some(Gate::AttnIn),
            None,
        );
    }
    for (name, heads) in [("q", &heads), ("k", &kv_heads), ("v", &kv_heads)] {
        points.push_gated(
            format!("{block}.hook_{name}_input"),
            &per_head(heads),
            Some(Gate::SplitQkvInput),
            None,
        );
    }
    if let BranchInput::Norm(norm) = &branch.input {
        points.push_norm(&format!("{block}.ln1"), stream, norm);
    }
    attention_body(points, &format!("{block}.attn"), d_model, attention);
    if let Some(norm) = &branch.output_norm {
        points.push_norm(&format!("{block}.ln1_post"), stream, norm);
    }
    let output = branch
        .output_norm
        .as_ref()
        .map_or(&attention.module, |norm| &norm.module);
    points.push(
        format!("{block}.hook_attn_out"),
        stream,
        added_tap(output.as_deref(), branch.output_scale),
    );
}

fn attention_body(points: &mut Points, attn: &str, d_model: &Dim, attention: &AttentionSpec) {
    let (heads, kv_heads) = (
        Dim::sized("n_heads", attention.n_heads),
        Dim::sized("n_kv_heads", attention.n_kv_heads),
    );
    let d_head = Dim::sized("d_head", attention.d_head);
    let tap = |port| match (attention.port, &attention.module) {
        (AttentionPort::Interface | AttentionPort::Operations, Some(module)) => {
            Some(HfTap::new(module, port))
        }
        (AttentionPort::Opaque, _) | (_, None) => None,
    };
    for (name, heads, count, projection) in [
        ("q", &heads, attention.n_heads, &attention.q),
        ("k", &kv_heads, attention.n_kv_heads, &attention.k),
        ("v", &kv_heads, attention.n_kv_heads, &attention.v),
    ] {
        let shape = [Dim::Batch, Dim::Pos, heads.clone(), d_head.clone()];
        let split = TapStep::Split {
            sizes: vec![count, attention.d_head],
        };
        points.push(
            format!("{attn}.hook_{name}"),
            &shape,
            projection.tap.clone().map(|tap| tap.step(split)),
        );
    }
    if let Some(norms) = &attention.qk_norm {
        for (letter, heads, count, norm) in [
            ("q", &heads, attention.n_heads, &norms.q),
            ("k", &kv_heads, attention.n_kv_heads, &norms.k),
        ] {
            let all = Dim::sized(&format!("{letter}_width"), count * attention.d_head);
            let shape = match norm.extent {
                Extent::Head => vec![Dim::Batch, Dim::Pos, heads.clone(), d_head.clone()],
                Extent::AllHeads => vec![Dim::Batch, Dim::Pos, all],
            };
            points.push_norm(&format!("{attn}.{letter}_norm"), &shape, &norm.norm);
        }
    }
    // What the scores take: a norm after the rotation is in it too.
    if let PositionSpec::Rotary(_) = attention.position {
        let q_shape = [Dim::Batch, Dim::Pos, heads.clone(), d_head.clone()];
        let k_shape = [Dim::Batch, Dim::KeyPos, kv_heads.clone(), d_head.clone()];
        points.push(format!("{attn}.hook_rot_q"), &q_shape, tap(Port::Query));
        points.push(format!("{attn}.hook_rot_k"), &k_shape, tap(Port::Key));
    }
    let square = [Dim::Batch, heads.clone(), Dim::Pos, Dim::KeyPos];
    points.push(
        format!("{attn}.hook_attn_scores"),
        &square,
        tap(Port::Scores),
    );
    points.push(format!("{attn}.hook_pattern"), &square, tap(Port::Pattern));
    let mixed = [Dim::Batch, Dim::Pos, heads.clone(), d_head];
    points.push(format!("{attn}.hook_z"), &mixed, tap(Port::Mixed));
    let result = [Dim::Batch, Dim::Pos, heads, d_model.clone()];
    points.push_gated(
        format!("{attn}.hook_result"),
        &result,
        Some(Gate::AttnResult),
        None,
    );
}

fn mlp_branch(points: &mut Points, block: &str, stream: &[Dim], branch: &Branch<MlpSpec>) {
    points.push_gated(
        format!("{block}.hook_mlp_in"),
        stream,
        Some(Gate::HookMlpIn),
        None,
    );
    if let BranchInput::Norm(norm) = &branch.input {
        points.push_norm(&format!("{block}.ln2"), stream, norm);
    }
    let mlp = format!("{block}.mlp");
    match &branch.body {
        MlpSpec::Dense(dense) => dense_hooks(points, &mlp, dense),
        MlpSpec::Moe(moe) => moe_hooks(points, &mlp, moe),
    }
    if let Some(norm) = &branch.output_norm {
        points.push_norm(&format!("{block}.ln2_post"), stream, norm);
    }
    let output = match &branch.output_norm {
        Some(norm) => norm.module.as_deref(),
        None => branch.body.module(),
    };
    points.push(
        format!("{block}.hook_mlp_out"),
        stream,
        added_tap(output, branch.output_scale),
    );
}

/// HF scales what a module gives where it adds it, so that no module shows what is added.
fn added_tap(module: Option<&str>, scale: f64) -> Option<HfTap> {
    module.filter(|_| scale == 1.0).map(HfTap::output)
}

fn dense_hooks(points: &mut Points, mlp: &str, dense: &DenseMlp) {
    let hidden = [Dim::Batch, Dim::Pos, Dim::sized("d_mlp", dense.d_mlp)];
    match &dense.gate {
        None => points.push(format!("{mlp}.hook_pre"), &hidden, dense.input.tap.clone()),
        Some(gate) => {
            points.push(format!("{mlp}.hook_pre"), &hidden, gate.tap.clone());
            points.push(
                format!("{mlp}.hook_pre_linear"),
                &hidden,
                dense.input.tap.clone(),
            );
        }
    }
    points.push(format!("{mlp}.hook_post"), &hidden, dense.post_tap.clone());
}

/// The score of every expert, the experts that are chosen, and what happens inside each: 0 at tokens that it does not
/// serve.
fn moe_hooks(points: &mut Points, mlp: &str, moe: &MoeSpec) {
    let experts = Dim::sized("n_experts", moe.experts.len());
    let chosen = Dim::sized("top_k", moe.top_k);
    let tap = |port| Some(HfTap::new(moe.module.as_ref()?, port));
    // Weights of the chosen alone, or scores before a bias of the choice, are not what HF chooses by.
    let is_chosen_by = moe.order == ScoreOrder::BeforeTopK && moe.choice_bias.is_none();
    points.push(
        format!("{mlp}.hook_expert_weights"),
        &[Dim::Batch, Dim::Pos, experts],
        tap(Port::RouterScores).filter(|_| is_chosen_by),
    );
    points.push(
        format!("{mlp}.hook_expert_indices"),
        &[Dim::Batch, Dim::Pos, chosen],
        tap(Port::RouterChoice),
    );
    for (index, expert) in moe.experts.iter().enumerate() {
        let hidden = [Dim::Batch, Dim::Pos, Dim::sized("d_mlp", expert.d_mlp)];
        let gate = expert.gate.as_ref().map(|_| "gate");
        for stage in gate.into_iter().chain(["pre", "post"]) {
            points.push(format!("{mlp}.experts.{index}.hook_{stage}"), &hidden, None);
        }
    }
}
