//! A small GPT-2.

use serde_json::{Value, json};
use tlbench_sdk::ModelSpec;

/// Two blocks, all dimensions different.
pub(super) fn spec() -> ModelSpec {
    let spec = json!({
        "architecture": "Small",
        "d_model": 12,
        "d_vocab": 23,
        "n_ctx": 9,
        "embedding": {
            "tokens": source("wte", &[23, 12]),
            "module": null,
            "positions": {"table": source("wpe", &[9, 12]), "module": null},
        },
        "layers": [layer(0), layer(1)],
        "final_norm": norm("ln_f"),
        "unembed": {
            "projection": {"weight": source("wte", &[23, 12]), "bias": null, "tap": null},
            "d_vocab_out": 23,
        },
    });
    serde_json::from_value(spec).unwrap()
}

fn layer(index: usize) -> Value {
    let name = |part: &str| format!("h.{index}.{part}");
    let attention = json!({
        "n_heads": 3,
        "n_kv_heads": 3,
        "d_head": 4,
        "q": projection(&name("q"), 12, 12),
        "k": projection(&name("k"), 12, 12),
        "v": projection(&name("v"), 12, 12),
        "o": projection(&name("o"), 12, 12),
        "position": "none",
        "scale": 0.5,
        "mask": {"band": {"back": null, "ahead": 0}},
        "module": null,
        "port": "opaque",
    });
    let mlp = json!({"dense": {
        "d_mlp": 19,
        "activation": "gelu_tanh",
        "gate": null,
        "input": projection(&name("in"), 19, 12),
        "output": projection(&name("out"), 12, 19),
        "module": null,
    }});
    json!({
        "wiring": "sequential",
        "module": null,
        "attn": {"input": {"norm": norm(&name("ln_1"))}, "body": attention},
        "mlp": {"input": {"norm": norm(&name("ln_2"))}, "body": mlp},
    })
}

fn projection(name: &str, outputs: usize, inputs: usize) -> Value {
    json!({
        "weight": source(&format!("{name}.weight"), &[outputs, inputs]),
        "bias": source(&format!("{name}.bias"), &[outputs]),
        "tap": null,
    })
}

fn norm(name: &str) -> Value {
    json!({
        "kind": "layer_norm",
        "eps": 1e-5,
        "gain": source(&format!("{name}.weight"), &[12]),
        "bias": source(&format!("{name}.bias"), &[12]),
        "module": null,
    })
}

fn source(name: &str, shape: &[usize]) -> Value {
    json!({"names": [name], "shape": shape})
}
