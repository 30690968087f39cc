//! Specs that no model can have.

use serde_json::Value;
use tlbench_sdk::spec::{
    AttentionSpec, BranchInput, Cut, DenseMlp, HfTap, MlpSpec, MoeSpec, NormSpec, Port,
    PositionSpec, RotarySpec, TapStep,
};
use tlbench_sdk::{ModelSpec, hooks};

use crate::{bloom, families, gemma2, llama, mixtral};

type Edit = fn(&mut ModelSpec);

fn attention(spec: &mut ModelSpec) -> &mut AttentionSpec {
    &mut spec.layers[0].attn.as_mut().unwrap().body
}

fn rotary(spec: &mut ModelSpec) -> &mut RotarySpec {
    match &mut attention(spec).position {
        PositionSpec::Rotary(rotary) => rotary,
        other => panic!("{other:?}"),
    }
}

fn first_norm(spec: &mut ModelSpec) -> &mut NormSpec {
    match &mut spec.layers[0].attn.as_mut().unwrap().input {
        BranchInput::Norm(norm) => norm,
        other => panic!("{other:?}"),
    }
}

fn dense(spec: &mut ModelSpec) -> &mut DenseMlp {
    match &mut spec.layers[0].mlp.as_mut().unwrap().body {
        MlpSpec::Dense(dense) => dense,
        MlpSpec::Moe(_) => panic!("a mixture"),
    }
}

fn moe(spec: &mut ModelSpec) -> &mut MoeSpec {
    match &mut spec.layers[0].mlp.as_mut().unwrap().body {
        MlpSpec::Moe(moe) => moe,
        MlpSpec::Dense(_) => panic!("no mixture"),
    }
}

/// What `check` says of `spec` after each of `edits`, a line each.
fn told(spec: &ModelSpec, edits: &[Edit]) -> String {
    let lines = edits.iter().map(|edit| {
        let mut spec = spec.clone();
        edit(&mut spec);
        match spec.check() {
            Ok(()) => "nothing is wrong".to_owned(),
            Err(error) => error.to_string(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn counts_that_are_0_or_absurd() {
    insta::assert_snapshot!(told(
        &llama::spec(),
        &[
            |spec| spec.d_model = 0,
            |spec| spec.d_model = usize::MAX,
            |spec| spec.d_vocab = 0,
            |spec| spec.n_ctx = Some(0),
            |spec| spec.n_ctx = Some(usize::MAX),
            |spec| spec.unembed.d_vocab_out = usize::MAX,
            |spec| attention(spec).n_heads = usize::MAX,
            |spec| attention(spec).n_kv_heads = 0,
            |spec| attention(spec).d_head = usize::MAX / 2,
            |spec| attention(spec).n_heads += 1,
            |spec| dense(spec).d_mlp = usize::MAX,
            |spec| spec.layers = vec![spec.layers[0].clone(); 100_000],
            |spec| spec.embedding.tokens.shape = vec![usize::MAX, usize::MAX],
            |spec| spec.embedding.tokens.shape = vec![u32::MAX as usize; 3],
            |spec| spec.embedding.tokens.shape = vec![1; 100_000],
        ]
    ));
}

#[test]
fn numbers_that_are_none_or_out_of_range() {
    insta::assert_snapshot!(told(
        &llama::spec(),
        &[
            |spec| first_norm(spec).eps = f64::NAN,
            |spec| first_norm(spec).eps = -1e-5,
            |spec| first_norm(spec).gain_offset = f64::INFINITY,
            |spec| attention(spec).scale = 0.0,
            |spec| attention(spec).scale = f64::NAN,
            |spec| attention(spec).softcap = Some(f64::NEG_INFINITY),
            |spec| attention(spec).clip_qkv = Some(0.0),
            |spec| rotary(spec).theta = f64::INFINITY,
            |spec| rotary(spec).theta = -1e300,
            |spec| spec.unembed.logit_scale = f64::NAN,
            |spec| spec.unembed.softcap = Some(-30.0),
            |spec| spec.layers[0].attn.as_mut().unwrap().output_scale = f64::NAN,
            |spec| spec.final_norm.as_mut().unwrap().eps = f64::INFINITY,
        ]
    ));
}

#[test]
fn positions_that_do_not_fit_the_heads() {
    insta::assert_snapshot!(told(
        &llama::spec(),
        &[
            |spec| rotary(spec).dim = attention(spec).d_head + 2,
            |spec| rotary(spec).dim = 3,
            |spec| rotary(spec).dim = 0,
        ]
    ));
    insta::assert_snapshot!(told(
        &bloom::spec(),
        &[|spec| {
            let PositionSpec::Alibi(alibi) = &mut attention(spec).position else {
                panic!("no slopes")
            };
            alibi.slopes.pop();
        }]
    ));
}

#[test]
fn tensors_without_names_and_cuts_that_do_not_fit() {
    insta::assert_snapshot!(told(
        &llama::spec(),
        &[
            |spec| attention(spec).q.weight.names.clear(),
            |spec| attention(spec).q.weight.names = vec![String::new()],
            |spec| attention(spec)
                .q
                .weight
                .names
                .push("\u{1b}[2J".repeat(1000)),
            |spec| attention(spec).k.weight.cut = vec![Cut::Slice {
                dim: 0,
                start: usize::MAX,
                len: 2
            }],
            |spec| attention(spec).o.weight.cut = vec![Cut::Transpose],
            |spec| attention(spec).o.weight.cut = vec![Cut::Reshape {
                shape: vec![2; 100_000]
            }],
            |spec| first_norm(spec).gain.as_mut().unwrap().cut = vec![Cut::Add {
                values: vec![f64::NAN]
            }],
        ]
    ));
}

#[test]
fn a_mixture_without_experts() {
    insta::assert_snapshot!(told(
        &mixtral::spec(),
        &[
            |spec| moe(spec).experts.clear(),
            |spec| moe(spec).top_k = 0,
            |spec| moe(spec).top_k = usize::MAX,
            |spec| moe(spec).routed_scale = f64::NAN,
            |spec| moe(spec).experts[1].d_mlp = 0,
        ]
    ));
}

#[test]
fn taps_that_make_no_sense() {
    insta::assert_snapshot!(told(
        &gemma2::spec(),
        &[
            |spec| {
                spec.layers[1]
                    .taps
                    .insert("attn.hook_zz".into(), HfTap::output("model.layers.1"));
            },
            |spec| spec.layers[0].module = Some("model\nlayers".into()),
            |spec| attention(spec).q.tap = Some(HfTap::new("q_proj", Port::Scores)),
            |spec| attention(spec).q.tap = Some(HfTap::output("")),
            |spec| {
                attention(spec).q.tap = Some(HfTap::output("q").step(TapStep::Slice {
                    start: usize::MAX,
                    len: 9,
                }));
            },
            |spec| {
                attention(spec).q.tap = Some(HfTap::output("q").step(TapStep::Split {
                    sizes: vec![usize::MAX, 3],
                }));
            },
            |spec| spec.layers[0].attn.as_mut().unwrap().input = BranchInput::SharedNorm,
        ]
    ));
}

/// Lengthens the `nth` shape of a stored tensor in `value`.
fn lengthen(value: &mut Value, nth: &mut usize) {
    if let Some(shape) = value.get_mut("shape").filter(|shape| shape.is_array()) {
        match nth.checked_sub(1) {
            Some(left) => *nth = left,
            None => {
                shape.as_array_mut().unwrap().push(2.into());
                *nth = usize::MAX;
            }
        }
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| lengthen(item, nth)),
        Value::Object(fields) => fields.values_mut().for_each(|item| lengthen(item, nth)),
        _ => {}
    }
}

#[test]
fn no_tensor_goes_unchecked() {
    for (name, spec) in families() {
        let (value, sources) = (serde_json::to_value(&spec).unwrap(), spec.sources().len());
        assert!(sources > 0);
        for index in 0..sources {
            let (mut value, mut nth) = (value.clone(), index);
            lengthen(&mut value, &mut nth);
            let changed: ModelSpec = serde_json::from_value(value).unwrap();
            assert_ne!(changed, spec, "{name}: {index}");
            assert!(changed.check().is_err(), "{name}: {index}");
        }
    }
}

#[test]
fn what_is_checked_can_be_walked() {
    // As many layers as there may be: neither the check nor the hooks take long.
    let mut spec = llama::spec();
    spec.layers = vec![spec.layers[0].clone(); 4096];
    assert_eq!(spec.check(), Ok(()));
    assert!(hooks(&spec).len() > 4096 * 10);
}

/// Puts `number` in the place of the `nth` number in `value`.
fn renumber(value: &mut Value, nth: &mut usize, number: &Value) {
    match value {
        Value::Number(_) => {
            if *nth == 0 {
                *value = number.clone();
            }
            *nth = nth.wrapping_sub(1);
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| renumber(item, nth, number)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|item| renumber(item, nth, number)),
        _ => {}
    }
}

#[test]
fn no_number_anywhere_is_too_much_for_the_check() {
    let numbers = [
        0.into(),
        1.into(),
        u32::MAX.into(),
        u64::MAX.into(),
        (-1).into(),
        1e308.into(),
    ];
    for (name, spec) in families() {
        let value = serde_json::to_value(&spec).unwrap();
        for index in 0.. {
            let mut nth = index;
            renumber(&mut value.clone(), &mut nth, &Value::Null);
            if nth < usize::MAX / 2 {
                break;
            }
            for number in &numbers {
                let (mut changed, mut nth) = (value.clone(), index);
                renumber(&mut changed, &mut nth, number);
                // A size of -1 is no spec at all.
                let Ok(spec) = serde_json::from_value::<ModelSpec>(changed) else {
                    continue;
                };
                match spec.check() {
                    Ok(()) => assert!(
                        !hooks(&spec).is_empty() && !spec.components().is_empty(),
                        "{name}"
                    ),
                    Err(error) => assert!(error.to_string().len() < 1000, "{name}: {error}"),
                }
            }
        }
    }
}
