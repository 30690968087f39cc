//! What the engine does not have yet, and checkpoints that do not fit, are refused by name.

use tlbench_engine::Bridge;
use tlbench_sdk::spec::{
    Activation, AlibiSpec, BranchInput, Cut, Mask, MlpSpec, Pairing, PositionSpec,
    RelativeBiasSpec, ResidualSource, RotaryScaling, RotarySpec, TensorSource, Wiring,
};
use tlbench_sdk::{DType, ModelSpec};

use crate::model::Small;

#[test]
fn a_spec_that_asks_for_more_is_refused_by_component() {
    let small = Small::new();
    let weights = small.weights();
    let attention = |spec: &mut ModelSpec, edit: &dyn Fn(&mut tlbench_sdk::spec::AttentionSpec)| {
        edit(&mut spec.layers[1].attn.as_mut().unwrap().body);
    };
    let edits: [&dyn Fn(&mut ModelSpec); 13] = [
        &|spec| {
            spec.layers[0].wiring = Wiring::Parallel;
            spec.layers[0].mlp.as_mut().unwrap().residual = ResidualSource::Input;
        },
        &|spec| {
            attention(spec, &|a| {
                a.sinks = Some(TensorSource::new(["ln_f.w"], [12]))
            })
        },
        &|spec| {
            attention(spec, &|a| {
                a.position = PositionSpec::RelativeBias(RelativeBiasSpec {
                    table: TensorSource::new(["ln_f.w"], [12]),
                    n_buckets: 8,
                    max_distance: 16,
                })
            })
        },
        &|spec| attention(spec, &|a| a.n_kv_heads = 1),
        &|spec| attention(spec, &|a| a.n_kv_heads = 0),
        &|spec| {
            attention(spec, &|a| {
                a.position = PositionSpec::Alibi(AlibiSpec { slopes: vec![0.5] })
            })
        },
        &|spec| {
            attention(spec, &|a| {
                a.position = PositionSpec::Rotary(RotarySpec {
                    dim: 6,
                    pairing: Pairing::Half,
                    theta: 10_000.0,
                    scaling: RotaryScaling::None,
                })
            })
        },
        &|spec| spec.layers[0].attn.as_mut().unwrap().input = BranchInput::SharedNorm,
        &|spec| {
            spec.layers[0].attn = None;
            spec.layers[0].mlp.as_mut().unwrap().input = BranchInput::SharedNorm;
        },
        &|spec| match &mut spec.layers[0].mlp.as_mut().unwrap().body {
            MlpSpec::Dense(dense) => {
                let (alpha, limit) = (1.702, 7.0);
                dense.activation = Activation::ClampedSwiglu { alpha, limit };
            }
            MlpSpec::Moe(_) => panic!("a dense MLP"),
        },
        &|spec| spec.unembed.projection.weight.names = vec!["lm_haed".into()],
        &|spec| {
            spec.final_norm
                .as_mut()
                .unwrap()
                .gain
                .as_mut()
                .unwrap()
                .shape = vec![13]
        },
        &|spec| {
            spec.layers[0].attn.as_mut().unwrap().body.q.weight.cut[0] = Cut::Slice {
                dim: 1,
                start: 30,
                len: 12,
            }
        },
    ];
    let messages: Vec<String> = edits
        .iter()
        .map(|edit| {
            let mut spec = small.spec.clone();
            edit(&mut spec);
            match Bridge::open(&spec, &weights, DType::F32) {
                Ok(_) => "opened".into(),
                Err(error) => error.to_string(),
            }
        })
        .collect();
    let folder = small.folder.path().display().to_string();
    insta::assert_snapshot!(messages.join("\n").replace(&folder, "[folder]"));
}

#[test]
fn a_mask_that_the_spec_gives_is_the_mask_that_is_used() {
    let small = Small::new();
    let mut spec = small.spec.clone();
    spec.layers[0].attn.as_mut().unwrap().body.mask = Mask::sliding(2);
    let bridge = Bridge::open(&spec, &small.weights(), DType::F64).unwrap();
    let name = "blocks.0.attn.hook_attn_scores";
    let request = crate::model::ask(&[vec![1, 2, 3, 4]], tlbench_sdk::Padding::Right, &[name]);
    let scores = crate::model::hook(&bridge.run(&request).unwrap(), name).to_f64_vec();
    let seen: Vec<bool> = scores[..16].iter().map(|score| score.is_finite()).collect();
    let expected: Vec<bool> = (0..16)
        .map(|i| (i / 4 == i % 4) || (i / 4 == i % 4 + 1))
        .collect();
    assert_eq!(seen, expected);
}
