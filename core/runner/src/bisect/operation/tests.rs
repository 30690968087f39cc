use serde_json::json;
use tlbench_sdk::{ATTENTION_MASK, INPUT_IDS, POSITION_IDS, hooks};

use super::*;

fn tensor(shape: &[usize]) -> Value {
    json!({ "names": ["w"], "shape": shape })
}

fn projection(out: usize, input: usize) -> Value {
    json!({ "weight": tensor(&[out, input]), "bias": tensor(&[out]), "tap": null })
}

fn norm(kind: &str, width: usize) -> Value {
    json!({ "kind": kind, "eps": 1e-5, "gain": tensor(&[width]), "bias": null, "module": null })
}

fn attention() -> Value {
    json!({
        "n_heads": 4, "n_kv_heads": 2, "d_head": 6, "scale": 0.5,
        "q": projection(24, 10), "k": projection(12, 10), "v": projection(12, 10), "o": projection(10, 24),
        "position": "none", "mask": { "band": { "back": null, "ahead": 0 } }, "module": null, "port": "opaque",
    })
}

fn mlp() -> Value {
    json!({
        "d_mlp": 14, "input": projection(14, 10), "output": projection(10, 14),
        "activation": "gelu_tanh", "module": null,
    })
}

/// What families have, in three blocks: rotated and normed queries under softcaps and norms behind, two branches side by
/// side with ALiBi, and experts.
pub(in super::super) fn spec() -> ModelSpec {
    let mut rotated = attention();
    rotated["position"] =
        json!({ "rotary": { "dim": 4, "pairing": "half", "theta": 1e4, "scaling": "none" } });
    rotated["softcap"] = json!(50.0);
    let of_head = json!({ "norm": norm("rms_norm", 6), "extent": "head" });
    rotated["qk_norm"] = json!({ "q": of_head, "k": of_head, "order": "before_rotary" });
    let mut gated = mlp();
    gated["gate"] = projection(14, 10);
    let behind = |body: Value| {
        json!({
            "input": { "norm": norm("rms_norm", 10) }, "body": body,
            "output_norm": norm("rms_norm", 10), "output_scale": 0.5,
        })
    };
    let mut biased = attention();
    biased["position"] = json!({ "alibi": { "slopes": [0.5, 0.25, 0.125, 0.0625] } });
    let experts = json!({ "moe": {
        "router": { "weight": tensor(&[3, 10]), "bias": null, "tap": null }, "score": "softmax",
        "order": "before_top_k", "top_k": 2, "renormalise": "yes", "module": null,
        "experts": [gated, gated, gated],
    } });
    let layers = json!([
        {
            "wiring": "sequential", "module": null,
            "attn": behind(rotated), "mlp": behind(json!({ "dense": gated })),
        },
        {
            "wiring": "parallel", "module": null,
            "attn": { "input": { "norm": norm("layer_norm", 10) }, "body": biased },
            "mlp": { "input": "shared_norm", "body": { "dense": mlp() } },
        },
        {
            "wiring": "sequential", "module": null,
            "attn": { "input": { "norm": norm("layer_norm", 10) }, "body": attention() },
            "mlp": { "input": { "norm": norm("layer_norm", 10) }, "body": experts },
        },
    ]);
    let spec = json!({
        "architecture": "Everything", "d_model": 10, "d_vocab": 7, "n_ctx": null,
        "embedding": {
            "tokens": tensor(&[7, 10]), "module": null, "norm": norm("layer_norm", 10),
            "positions": { "table": tensor(&[9, 10]), "offset": 2, "module": null },
        },
        "layers": layers, "final_norm": norm("layer_norm", 10),
        "unembed": {
            "projection": { "weight": tensor(&[7, 10]), "bias": null, "tap": null },
            "d_vocab_out": 7, "softcap": 30.0,
        },
    });
    serde_json::from_value(spec).unwrap()
}

fn operations(spec: &ModelSpec) -> Vec<Operation> {
    let hooks = hooks(spec);
    let names = hooks.iter().map(|hook| hook.name.as_str()).chain([LOGITS]);
    let operation =
        |name: &str| operation_of(spec, name).unwrap_or_else(|| panic!("{name} has no operation"));
    names.map(operation).collect()
}

#[test]
fn every_hook_has_an_operation() {
    let told = operations(&spec()).into_iter().map(|operation| {
        let Operation {
            result, formula, ..
        } = operation;
        format!("{result} = {formula}")
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn an_operation_reads_inputs_and_hooks_before_it() {
    let spec = spec();
    let order: Vec<String> = hooks(&spec).into_iter().map(|hook| hook.name).collect();
    for operation in operations(&spec) {
        assert!(!operation.reads.is_empty(), "{}", operation.result);
        let place = order.iter().position(|name| *name == operation.result);
        for read in &operation.reads {
            if [INPUT_IDS, POSITION_IDS, ATTENTION_MASK].contains(&read.name.as_str()) {
                continue;
            }
            let before = order.iter().position(|name| *name == read.name);
            let before = before.unwrap_or_else(|| panic!("{} is no hook", read.name));
            assert!(
                place.is_none_or(|place| before < place),
                "{} reads {}",
                operation.result,
                read.name
            );
        }
    }
}

/// All but `choice_bias`, which few routers have.
#[test]
fn an_operation_takes_weights_that_the_spec_has_and_all_are_taken() {
    let spec = spec();
    let operations = operations(&spec);
    let parts: Vec<&String> = operations.iter().flat_map(|one| &one.weights).collect();
    let sources: Vec<String> = spec.sources().into_iter().map(|(name, _)| name).collect();
    for source in &sources {
        let is_taken = parts.iter().any(|part| {
            let rest = source.strip_prefix(part.as_str());
            rest.is_some_and(|rest| ["", ".weight", ".bias"].contains(&rest))
        });
        assert!(is_taken, "{source}");
    }
    for part in parts
        .into_iter()
        .filter(|part| !part.ends_with("choice_bias"))
    {
        let has = sources
            .iter()
            .any(|source| source.starts_with(part.as_str()));
        assert!(has, "{part}");
    }
}
