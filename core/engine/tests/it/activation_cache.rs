//! The cache of activations, as TransformerLens's users know it.

use tlbench_engine::ActivationCache;
use tlbench_sdk::{DType, Padding, Tensor};

use crate::model::{Small, ask, largest_difference};

fn cache(filter: impl Fn(&str) -> bool) -> ActivationCache {
    let inputs = ask(&[vec![3, 1, 4, 22]], Padding::Right, &[]).inputs;
    Small::new()
        .bridge(DType::F64)
        .run_with_cache(inputs, filter)
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
fn a_filter_says_what_is_kept() {
    let cache = cache(|name| name.ends_with("hook_z"));
    let names: Vec<&str> = cache.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z"]);
}

#[test]
fn short_names_and_layers_from_the_end() {
    let cache = cache(|_| true);
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
    let cache = cache(|name| name.contains("hook_z"));
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
    let cache = cache(|_| true);
    let stack = cache.stack_activation("z").unwrap();
    let second = cache.at("z", 1).unwrap().to_f64_vec();
    assert_eq!(stack.shape()[0], 2);
    assert_eq!(stack.to_f64_vec()[second.len()..], second);
}

#[test]
fn what_was_written_to_the_stream_sums_to_it() {
    let cache = cache(|_| true);
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
    let cache = cache(|_| true);
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
    let cache = cache(|_| true);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache.safetensors");
    cache.save(&file).unwrap();
    assert_eq!(ActivationCache::load(&file).unwrap(), cache);
}

#[test]
fn a_sum_of_which_a_part_was_not_kept_is_no_answer() {
    let cache = cache(|name| name != "blocks.0.hook_mlp_out");
    let error = cache.decompose_resid(None).unwrap_err();
    insta::assert_snapshot!(error, @"blocks.0.hook_mlp_out: expected a hook of the cache, found none of that name");
}
