//! The cache of activations, as TransformerLens's users know it.

use tlbench_engine::{ActivationCache, CacheOptions, HookNames};
use tlbench_sdk::{DType, Padding, Tensor};

use crate::model::{Small, ask, largest_difference};

fn cache<'f>(names: impl Into<HookNames<'f>>) -> ActivationCache {
    let inputs = ask(&[vec![3, 1, 4, 22]], Padding::Right, &[]).inputs;
    Small::new()
        .bridge(DType::F64)
        .run_with_cache(inputs, &CacheOptions::new().names(names))
        .unwrap()
        .1
}

/// The sum over the first dimension.
fn summed(stack: &Tensor) -> Vec<f64> {
    let values = stack.to_f64_vec();
    let width = values.len() / stack.shape()[0];
    (0..width)
        .map(|at| values[at..].iter().step_by(width).sum())
        .collect()
}

#[test]
fn short_names_and_layers_from_the_end() {
    let cache = cache("*");
    for (short, layer, name) in [
        ("z", 1, "blocks.1.attn.hook_z"),
        ("post", 0, "blocks.0.mlp.hook_post"),
        ("resid_mid", -2, "blocks.0.hook_resid_mid"),
        ("ln1.scale", -1, "blocks.1.ln1.hook_scale"),
    ] {
        assert_eq!(cache.at(short, layer).unwrap(), cache.get(name).unwrap());
    }
}

#[test]
fn what_is_not_there_is_named() {
    let cache = cache("*.hook_z");
    let errors = [
        cache.get("hook_embed").unwrap_err(),
        cache.at("q", 0).unwrap_err(),
        cache.at("z", 2).unwrap_err(),
        cache.at("z", -3).unwrap_err(),
        cache.decompose_resid(None).unwrap_err(),
        cache.accumulated_resid(Some(3), false).unwrap_err(),
        ActivationCache::default()
            .stack_activation("z")
            .unwrap_err(),
    ];
    insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"));
}

#[test]
fn a_stack_is_the_values_of_all_layers() {
    let cache = cache("*");
    let stack = cache.stack_activation("z").unwrap();
    let second = cache.at("z", 1).unwrap().to_f64_vec();
    assert_eq!(stack.shape()[0], 2);
    assert_eq!(stack.to_f64_vec()[second.len()..], second);
}

#[test]
fn what_was_written_to_the_stream_sums_to_it() {
    let cache = cache("*");
    let all = cache.decompose_resid(None).unwrap();
    assert_eq!(
        all.labels,
        [
            "embed",
            "pos_embed",
            "0_attn_out",
            "0_mlp_out",
            "1_attn_out",
            "1_mlp_out"
        ]
    );
    let end = cache.at("resid_post", -1).unwrap().to_f64_vec();
    assert!(largest_difference(&summed(&all.values), &end) < 1e-12);
    let before = cache.decompose_resid(Some(1)).unwrap();
    let start = cache.at("resid_pre", 1).unwrap().to_f64_vec();
    assert!(largest_difference(&summed(&before.values), &start) < 1e-12);
}

#[test]
fn the_stream_as_it_grows() {
    let cache = cache("*");
    let all = cache.accumulated_resid(None, true).unwrap();
    assert_eq!(
        all.labels,
        ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"]
    );
    let some = cache.accumulated_resid(Some(1), false).unwrap();
    assert_eq!(some.labels, ["0_pre", "1_pre"]);
}

#[test]
fn to_a_file_and_back() {
    let cache = cache("*");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache.safetensors");
    cache.save(&file).unwrap();
    assert_eq!(ActivationCache::load(&file).unwrap(), cache);
}

#[test]
fn a_sum_of_which_a_part_was_not_kept_is_no_answer() {
    let cache = cache(HookNames::matching(|hook| {
        hook.name != "blocks.0.hook_mlp_out"
    }));
    let error = cache.decompose_resid(None).unwrap_err();
    insta::assert_snapshot!(error, @"blocks.0.hook_mlp_out: expected a hook of the cache, found none of that name");
}

#[test]
fn layers_count_from_the_models_last_whatever_was_kept() {
    let cache = cache("blocks.0.*");
    assert!(cache.at("resid_pre", 0).is_ok());
    let error = cache.at("resid_pre", -1).unwrap_err();
    insta::assert_snapshot!(error, @"resid_pre of layer 1: expected a hook of the cache, found none of that name");
}

#[test]
fn the_parts_of_a_stream_are_normed_as_the_whole() {
    let cache = cache("*");
    for (layer, norm) in [
        (None, "ln_final"),
        (Some(1), "blocks.1.ln1"),
        (Some(0), "blocks.0.ln1"),
    ] {
        let parts = cache.decompose_resid(layer).unwrap();
        let normed = cache.apply_ln_to_stack(&parts, norm).unwrap();
        assert_eq!(normed.labels, parts.labels);
        let whole = cache.get(&format!("{norm}.hook_normalized")).unwrap();
        let difference = largest_difference(&summed(&normed.values), &whole.to_f64_vec());
        assert!(difference < 1e-12, "{norm}: {difference}");
    }
    let stack = cache.decompose_resid(None).unwrap();
    let error = cache.apply_ln_to_stack(&stack, "blocks.0.ln3").unwrap_err();
    insta::assert_snapshot!(error, @"blocks.0.ln3.hook_scale: expected a hook of the cache, found none of that name");
}

#[test]
fn a_norm_that_does_not_centre_is_not_made_to() {
    use tlbench_sdk::spec::NormKind;

    let mut spec = crate::model::spec();
    spec.final_norm.as_mut().unwrap().kind = NormKind::RmsNorm;
    let inputs = ask(&[vec![3, 1, 4, 22]], Padding::Right, &[]).inputs;
    let bridge = Small::of(spec).bridge(DType::F64);
    let (_, cache) = bridge.run_with_cache(inputs, &CacheOptions::new()).unwrap();
    let parts = cache.decompose_resid(None).unwrap();
    let normed = cache.apply_ln_to_stack(&parts, "ln_final").unwrap();
    let whole = cache.get("ln_final.hook_normalized").unwrap().to_f64_vec();
    assert!(largest_difference(&summed(&normed.values), &whole) < 1e-12);
}
