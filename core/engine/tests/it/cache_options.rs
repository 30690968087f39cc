//! What a run keeps for its caller, and how far it goes.

use tlbench_engine::{Bridge, CacheOptions, HookNames};
use tlbench_sdk::{DType, GradientRequest, Objective, Padding, Quantity, TensorMap, TraceRequest};

use crate::model::{Small, ask, hook, logits};

fn bridge() -> Bridge {
    Small::new().bridge(DType::F64)
}

fn inputs() -> TensorMap {
    ask(&[vec![3, 1, 4, 22, 5]], Padding::Right, &[]).inputs
}

/// What is kept, by name.
fn kept(options: &CacheOptions<'_>) -> Vec<String> {
    let (_, cache) = bridge().run_with_cache(inputs(), options).unwrap();
    cache.iter().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn names_are_listed_or_matched_or_chosen_and_otherwise_all_that_fire_anyway() {
    let named = |names: HookNames<'_>| kept(&CacheOptions::new().names(names));
    assert_eq!(named("hook_embed".into()), ["hook_embed"]);
    let both = ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z"];
    assert_eq!(named("*.hook_z".into()), both);
    assert_eq!(named(["*.1.*.hook_z", both[0]].into()), both);
    let chosen = HookNames::matching(|hook| hook.name.ends_with("_z"));
    assert_eq!(named(chosen), both);
    assert_eq!(named(HookNames::matching(|_| false)), [""; 0]);
    let gated = "blocks.0.attn.hook_result";
    assert_eq!(named(gated.into()), [gated]);
    let all = kept(&CacheOptions::new());
    assert_eq!(all.len(), 17 * 2 + 6);
    assert!(!all.iter().any(|name| name == gated));
}

#[test]
fn beside_the_cache_there_are_the_logits() {
    let bridge = bridge();
    let (output, cache) = bridge
        .run_with_cache(inputs(), &CacheOptions::new())
        .unwrap();
    let request = ask(&[vec![3, 1, 4, 22, 5]], Padding::Right, &["hook_embed"]);
    let trace = bridge.run(&request).unwrap();
    assert_eq!(output.to_f64_vec(), logits(&trace));
    assert_eq!(
        *cache.get("hook_embed").unwrap(),
        hook(&trace, "hook_embed")
    );
}

#[test]
fn a_run_that_stops_gives_the_stream_there_and_only_what_fires_before() {
    let bridge = bridge();
    let (_, whole) = bridge
        .run_with_cache(inputs(), &CacheOptions::new())
        .unwrap();
    for (stop, stream, count) in [
        (0, None, 2),
        (1, Some("blocks.0.hook_resid_post"), 2 + 17),
        (-1, Some("blocks.0.hook_resid_post"), 2 + 17),
        (-2, None, 2),
        (2, Some("blocks.1.hook_resid_post"), 2 + 2 * 17),
    ] {
        let options = CacheOptions::new().stop_at_layer(stop);
        let (output, cache) = bridge.run_with_cache(inputs(), &options).unwrap();
        let expected = stream.unwrap_or("blocks.0.hook_resid_pre");
        assert_eq!(output, *whole.get(expected).unwrap(), "{stop}");
        assert_eq!(cache.iter().count(), count, "{stop}");
        for (name, value) in cache.iter() {
            assert_eq!(value, whole.get(name).unwrap(), "{name}");
        }
    }
}

#[test]
fn gradients_are_kept_beside_the_values() {
    let bridge = bridge();
    let options = CacheOptions::new()
        .names("*.hook_resid_post")
        .incl_bwd(Objective::Loss);
    let (output, cache) = bridge.run_with_cache(inputs(), &options).unwrap();
    let names: Vec<&str> = cache.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "blocks.0.hook_resid_post",
            "blocks.0.hook_resid_post_grad",
            "blocks.1.hook_resid_post",
            "blocks.1.hook_resid_post_grad",
        ]
    );
    let gradient = Quantity::HookGradient("blocks.0.hook_resid_post".into());
    let request = TraceRequest {
        gradients: Some(GradientRequest {
            objective: Objective::Loss,
        }),
        ..TraceRequest::new(inputs(), vec![gradient.clone(), Quantity::Logits])
    };
    let trace = bridge.run(&request).unwrap();
    assert_eq!(cache.at("resid_post_grad", 0).ok(), trace.value(&gradient));
    assert_eq!(output.to_f64_vec(), logits(&trace));
}

#[test]
fn without_the_batch_dimension() {
    let options = CacheOptions::new().remove_batch_dim();
    let (output, cache) = bridge().run_with_cache(inputs(), &options).unwrap();
    let (_, whole) = bridge()
        .run_with_cache(inputs(), &CacheOptions::new())
        .unwrap();
    for (name, value) in cache.iter() {
        let with = whole.get(name).unwrap();
        assert_eq!([&[1], value.shape()].concat(), with.shape(), "{name}");
        assert_eq!(value.bytes(), with.bytes(), "{name}");
    }
    assert_eq!(output.shape()[0], 1);
    let parts = cache.decompose_resid(None).unwrap();
    let normed = cache.apply_ln_to_stack(&parts, "ln_final").unwrap();
    assert_eq!(normed.values.shape(), [6, 5, crate::model::D_MODEL]);
}

#[test]
fn what_cannot_be_kept_is_named() {
    let bridge = bridge();
    let two = ask(&[vec![3, 1], vec![4, 2]], Padding::Right, &[]).inputs;
    let errors = [
        (inputs(), CacheOptions::new().names("blocks.9.*")),
        (
            inputs(),
            CacheOptions::new()
                .names("blocks.1.hook_resid_pre")
                .stop_at_layer(1),
        ),
        (
            inputs(),
            CacheOptions::new()
                .names("ln_final.hook_scale")
                .stop_at_layer(2),
        ),
        (inputs(), CacheOptions::new().stop_at_layer(3)),
        (inputs(), CacheOptions::new().stop_at_layer(-3)),
        (
            inputs(),
            CacheOptions::new()
                .stop_at_layer(1)
                .incl_bwd(Objective::Loss),
        ),
        (two, CacheOptions::new().remove_batch_dim()),
        (TensorMap::new(), CacheOptions::new().remove_batch_dim()),
    ]
    .map(|(inputs, options)| {
        let error = bridge.run_with_cache(inputs, &options).unwrap_err();
        error.to_string()
    });
    insta::assert_snapshot!(errors.join("\n"));
}
