//! What HookedTransformer is told of a spec, and what it cannot be told.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, BranchInput, DenseMlp, EmbeddingScale, Mask, MlpSpec,
    NormKind, NormSpec, ResidualSource, Wiring,
};
use tlbench_sdk::{ErrorKind, ModelSpec};

use super::spec::spec;
use crate::architecture::Architecture;

/// What becomes of the small model with an edit.
fn with(edit: impl FnOnce(&mut ModelSpec)) -> String {
    let mut spec = spec();
    edit(&mut spec);
    match Architecture::of(&spec) {
        Ok(architecture) => serde_json::to_string(&architecture).unwrap(),
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Unsupported);
            error.message
        }
    }
}

fn attn(spec: &mut ModelSpec, layer: usize) -> &mut Branch<AttentionSpec> {
    spec.layers[layer].attn.as_mut().unwrap()
}

fn mlp(spec: &mut ModelSpec, layer: usize) -> &mut Branch<MlpSpec> {
    spec.layers[layer].mlp.as_mut().unwrap()
}

fn dense(spec: &mut ModelSpec, layer: usize) -> &mut DenseMlp {
    match &mut mlp(spec, layer).body {
        MlpSpec::Dense(dense) => dense,
        MlpSpec::Moe(_) => unreachable!(),
    }
}

fn norm<T>(branch: &mut Branch<T>) -> &mut NormSpec {
    match &mut branch.input {
        BranchInput::Norm(norm) => norm,
        _ => unreachable!(),
    }
}

#[test]
fn what_a_gpt2_has_is_told() {
    insta::assert_snapshot!(with(|_| {}), @r#"{"n_layers":2,"d_model":12,"n_ctx":9,"d_head":4,"n_heads":3,"d_mlp":19,"d_vocab":23,"d_vocab_out":23,"act_fn":"gelu_new","eps":0.00001,"attn_scale":2.0,"scale_attn_by_inverse_layer_idx":false}"#);
}

#[test]
fn scores_that_every_block_divides_by_its_number() {
    let told = with(|spec| attn(spec, 1).body.scale = 0.25);
    assert!(told.contains(r#""attn_scale":2.0"#), "{told}");
    assert!(
        told.contains(r#""scale_attn_by_inverse_layer_idx":true"#),
        "{told}"
    );
}

#[test]
fn what_no_gpt2_has_is_refused_by_name() {
    let refused = [
        with(|spec| spec.embedding.positions = None),
        with(|spec| spec.embedding.positions.as_mut().unwrap().offset = 2),
        with(|spec| {
            spec.embedding.scale = Some(EmbeddingScale {
                value: 3.0,
                rounded_to_weights: false,
            });
        }),
        with(|spec| spec.embedding.norm.clone_from(&spec.final_norm)),
        with(|spec| spec.layers[1].wiring = Wiring::Parallel),
        with(|spec| spec.layers[1].mlp = None),
        with(|spec| attn(spec, 0).input = BranchInput::Stream),
        with(|spec| norm(attn(spec, 1)).kind = NormKind::RmsNorm),
        with(|spec| norm(mlp(spec, 1)).gain_offset = 1.0),
        with(|spec| {
            let norm = spec.final_norm.clone();
            attn(spec, 0).output_norm = norm;
        }),
        with(|spec| mlp(spec, 0).output_scale = 0.5),
        with(|spec| mlp(spec, 0).residual = ResidualSource::Input),
        with(|spec| attn(spec, 0).body.n_kv_heads = 1),
        with(|spec| attn(spec, 0).body.clip_qkv = Some(8.0)),
        with(|spec| attn(spec, 0).body.softcap = Some(50.0)),
        with(|spec| attn(spec, 1).body.mask = Mask::sliding(4)),
        with(|spec| {
            let gate = dense(spec, 0).input.clone();
            dense(spec, 0).gate = Some(gate);
        }),
        with(|spec| spec.final_norm.as_mut().unwrap().kind = NormKind::RmsNorm),
        with(|spec| spec.unembed.logit_scale = 0.5),
        with(|spec| spec.unembed.softcap = Some(30.0)),
    ];
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn blocks_that_differ_are_refused() {
    let refused = [
        with(|spec| dense(spec, 1).d_mlp = 20),
        with(|spec| dense(spec, 1).activation = Activation::Gelu),
        with(|spec| norm(mlp(spec, 1)).eps = 1e-6),
        with(|spec| attn(spec, 1).body.scale = 0.4),
    ];
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn a_model_of_which_the_config_needs_more_is_refused() {
    let refused = [
        with(|spec| spec.layers.clear()),
        with(|spec| spec.final_norm = None),
        with(|spec| spec.n_ctx = None),
        with(|spec| {
            for layer in 0..2 {
                dense(spec, layer).activation = Activation::QuickGelu;
            }
        }),
    ];
    insta::assert_snapshot!(refused.join("\n"));
}
