//! What holds of every twin.

use serde_json::{Map, Value};
use tlbench::twin::{Features, HeadWidth, Shrunk};
use tlbench::{Registry, SearchPath};
use tlbench_sdk::spec::{Mask, MlpSpec, PositionSpec};
use tlbench_sdk::{Adapted, ModelSpec};

use super::{architectures, large, shipped};

/// Calls `look` for all models, with heads as in the model and of their own.
fn for_all(look: impl Fn(&str, &Map<String, Value>, [&Adapted; 2], &Shrunk)) {
    for heads in [HeadWidth::AsInModel, HeadWidth::Own] {
        for_all_with(heads, &look);
    }
}

/// Calls `look` with the name, the model's config, and what the adapter makes of it and of its twin's.
fn for_all_with(
    heads: HeadWidth,
    look: impl Fn(&str, &Map<String, Value>, [&Adapted; 2], &Shrunk),
) {
    let registry = Registry::load(&SearchPath {
        named: architectures(),
        implied: Vec::new(),
    });
    let models: Vec<_> = large().into_iter().chain(shipped()).collect();
    assert!(models.len() > 30, "{}", models.len());
    for model in models {
        let config: Map<String, Value> = serde_json::from_str(&model.config).unwrap();
        let model_type = config["model_type"].as_str().unwrap();
        let adapter = &registry.architecture_for(model_type).unwrap().object;
        let of_model = adapter.adapt(&config).unwrap();
        let shrunk = Shrunk::of(&config, &of_model, heads);
        let of_twin = adapter.adapt(&shrunk.config).unwrap();
        look(&model.name, &config, [&of_model, &of_twin], &shrunk);
    }
}

#[test]
fn a_twin_has_the_features_of_the_model() {
    for_all(|name, _, [model, twin], shrunk| {
        let expected = Features::of(&model.spec).with_layers(&shrunk.layers);
        assert_eq!(Features::of(&twin.spec), expected, "{name}");
    });
}

#[test]
fn a_twin_has_every_kind_of_layer() {
    for_all(|name, _, [model, _], shrunk| {
        let features = Features::of(&model.spec);
        let kept = features.with_layers(&shrunk.layers);
        for layer in &features.layers {
            assert!(kept.layers.contains(layer), "{name}");
        }
        assert!(kept.layers.len() <= 8, "{name}");
    });
}

/// What is a number, and not a size, stays as it is.
#[test]
fn numbers_that_are_no_sizes_stay() {
    for_all(|name, config, _, shrunk| {
        for key in config.keys().filter(|key| is_kept(key)) {
            assert_eq!(shrunk.config[key], config[key], "{name}: {key}");
        }
    });
}

fn is_kept(key: &str) -> bool {
    let parts = [
        "eps",
        "theta",
        "base",
        "pct",
        "softcapping",
        "act",
        "tie",
        "bias",
        "per_tok",
        "topk",
        "clip",
        "dtype",
    ];
    parts.iter().any(|part| key.contains(part))
}

/// The sizes of a spec that a tensor can have as dimensions, by name.
fn sizes(spec: &ModelSpec) -> Vec<(&'static str, usize)> {
    let mut sizes = vec![("d_model", spec.d_model), ("d_vocab", spec.d_vocab)];
    sizes.extend(spec.n_ctx.map(|n_ctx| ("n_ctx", n_ctx)));
    for layer in &spec.layers {
        if let Some(branch) = &layer.attn {
            let attention = &branch.body;
            let (heads, key_heads, width) =
                (attention.n_heads, attention.n_kv_heads, attention.d_head);
            sizes.extend([
                ("n_heads", heads),
                ("n_kv_heads", key_heads),
                ("d_head", width),
                ("queries", heads * width),
                ("keys", key_heads * width),
            ]);
            if let Mask::Band {
                back: Some(back), ..
            } = attention.mask
            {
                sizes.push(("window", back + 1));
            }
        }
        match layer.mlp.as_ref().map(|branch| &branch.body) {
            Some(MlpSpec::Dense(mlp)) => sizes.push(("d_mlp", mlp.d_mlp)),
            Some(MlpSpec::Moe(moe)) => {
                sizes.push(("experts", moe.experts.len()));
                sizes.push(("d_expert", moe.experts[0].d_mlp));
            }
            None => {}
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Two sizes are the same only where the family knows no other: keys of all heads, and heads that share out the width.
#[test]
fn no_two_sizes_of_a_twin_are_the_same() {
    for_all_with(HeadWidth::AsInModel, |name, config, [model, twin], _| {
        let given = config.get("head_dim").is_some_and(Value::is_number);
        assert_distinct(name, model, twin, !given);
    });
    for_all_with(HeadWidth::Own, |name, _, [model, twin], _| {
        let known = model.keys_read.contains("head_dim");
        assert_distinct(name, model, twin, !known);
    });
}

fn assert_distinct(name: &str, model: &Adapted, twin: &Adapted, shared_out: bool) {
    let attention = &model.spec.layers[0].attn.as_ref().unwrap().body;
    let all_heads = attention.n_heads == attention.n_kv_heads;
    let one_key_head = attention.n_kv_heads == 1;
    let is_tied = |a: &str, b: &str| match [a, b] {
        ["n_heads", "n_kv_heads"] | ["keys", "queries"] => all_heads,
        ["d_head", "keys"] => one_key_head,
        ["d_model", "queries"] => shared_out,
        ["d_model", "keys"] => shared_out && all_heads,
        _ => false,
    };
    let sizes = sizes(&twin.spec);
    for (index, (a, size)) in sizes.iter().enumerate() {
        for (b, other) in &sizes[index + 1..] {
            assert!(size != other || is_tied(a, b), "{name}: {a} = {b} = {size}");
        }
    }
}

/// Contexts that were stretched are stretched as much.
#[test]
fn the_trained_share_of_the_context_stays() {
    for_all(|name, config, [model, twin], shrunk| {
        let share = |config: &Map<String, Value>, spec: &ModelSpec| {
            let tables = ["rope_scaling", "rope_parameters"];
            let tables = tables
                .iter()
                .filter_map(|key| config.get(*key)?.as_object());
            let mut all = tables.chain([config]);
            let trained =
                all.find_map(|table| table.get("original_max_position_embeddings")?.as_f64());
            Some(spec.n_ctx? as f64 / trained?)
        };
        let (before, after) = (
            share(config, &model.spec),
            share(&shrunk.config, &twin.spec),
        );
        let is_near = |(before, after): (f64, f64)| (before / after - 1.0).abs() < 0.01;
        assert_eq!(before.is_some(), after.is_some(), "{name}");
        assert!(before.zip(after).is_none_or(is_near), "{name}");
    });
}

#[test]
fn the_rotated_share_of_a_head_stays() {
    for_all(|name, _, [model, twin], _| {
        let share = |spec: &ModelSpec| {
            let attention = &spec.layers[0].attn.as_ref().unwrap().body;
            match &attention.position {
                PositionSpec::Rotary(rotary) => rotary.dim as f64 / attention.d_head as f64,
                _ => 0.0,
            }
        };
        assert_eq!(share(&model.spec), share(&twin.spec), "{name}");
    });
}
