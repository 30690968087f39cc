//! Two blocks of GPT-2's kind, no two dimensions of which are equal.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tlbench_sdk::{
    Benchmark, Check, DType, Judgement, Judging, Mode, ModelInfo, ModelSpec, Padding, Parameter,
    PlannedRequest, Processing, Quantity, Stimulus, Tensor, Tier, Trace, Verdict, hooks, noise,
};

pub(super) const D_MODEL: usize = 6;
pub(super) const HEADS: usize = 2;
pub(super) const D_HEAD: usize = 4;
pub(super) const D_MLP: usize = 7;
pub(super) const D_VOCAB: usize = 11;
pub(super) const N_CTX: usize = 9;
const LAYERS: usize = 2;

pub(super) type Weights = BTreeMap<String, Vec<f64>>;

pub(super) fn spec() -> ModelSpec {
    let inner = HEADS * D_HEAD;
    let layers: Vec<Value> = (0..LAYERS)
        .map(|i| {
            let name = |part: &str| format!("h{i}.{part}");
            json!({
                "wiring": "sequential",
                "module": null,
                "attn": branch(&name("ln1"), &json!({
                    "n_heads": HEADS, "n_kv_heads": HEADS, "d_head": D_HEAD,
                    "q": linear(&name("q"), inner, D_MODEL), "k": linear(&name("k"), inner, D_MODEL),
                    "v": linear(&name("v"), inner, D_MODEL), "o": linear(&name("o"), D_MODEL, inner),
                    "position": "none", "scale": 0.5,
                    "mask": { "band": { "back": null, "ahead": 0 } },
                    "module": null, "port": "opaque",
                })),
                "mlp": branch(&name("ln2"), &json!({ "dense": {
                    "d_mlp": D_MLP, "activation": "gelu", "module": null,
                    "input": linear(&name("in"), D_MLP, D_MODEL),
                    "output": linear(&name("out"), D_MODEL, D_MLP),
                }})),
            })
        })
        .collect();
    let spec: ModelSpec = serde_json::from_value(json!({
        "architecture": "Small", "d_model": D_MODEL, "d_vocab": D_VOCAB, "n_ctx": N_CTX,
        "embedding": {
            "tokens": tensor("wte", &[D_VOCAB, D_MODEL]), "module": null,
            "positions": { "table": tensor("wpe", &[N_CTX, D_MODEL]), "module": null },
        },
        "layers": layers,
        "final_norm": norm("ln_f"),
        "unembed": {
            "projection": { "weight": tensor("wte", &[D_VOCAB, D_MODEL]), "bias": null, "tap": null },
            "d_vocab_out": D_VOCAB,
        },
    }))
    .unwrap();
    spec.check().unwrap();
    spec
}

fn tensor(name: &str, shape: &[usize]) -> Value {
    json!({ "names": [name], "shape": shape })
}

fn norm(name: &str) -> Value {
    let part = |part: &str| tensor(&format!("{name}.{part}"), &[D_MODEL]);
    json!({ "kind": "layer_norm", "eps": 1e-5, "gain": part("w"), "bias": part("b"), "module": null })
}

fn linear(name: &str, out: usize, inner: usize) -> Value {
    json!({
        "weight": tensor(&format!("{name}.w"), &[out, inner]),
        "bias": tensor(&format!("{name}.b"), &[out]), "tap": null,
    })
}

fn branch(norm_name: &str, body: &Value) -> Value {
    json!({ "input": { "norm": norm(norm_name) }, "body": body })
}

pub(super) fn model(mode: Mode) -> ModelInfo {
    let spec = spec();
    let mut processing = Processing::raw();
    let mut stimulus = Stimulus::from_rows("text", &[vec![1, 2, 3, 4]], Padding::Right, 0).unwrap();
    if mode == Mode::Compat {
        processing = Processing::compat(&spec);
        stimulus.request.processing = processing.clone();
    }
    let hooks = hooks(&spec);
    stimulus.request.capture = hooks
        .iter()
        .filter(|hook| hook.gate.is_none())
        .map(|hook| Quantity::hook(&hook.name))
        .chain([Quantity::Logits, Quantity::LossPerToken, Quantity::Loss])
        .collect();
    let parameter = |name: String, shape: Vec<usize>| Parameter { name, shape };
    let parameters = spec
        .sources()
        .into_iter()
        .map(|(_, source)| parameter(source.names[0].clone(), source.shape.clone()));
    ModelInfo {
        name: "small".into(),
        subject: "bridge".into(),
        mode,
        processing,
        dtype: DType::F32,
        parameters: parameters.collect(),
        hooks,
        spec,
        reference: "made-up".into(),
        tier: Tier::HookedTransformer,
        stimuli: vec![stimulus],
        firings: [].into(),
        usage: tlbench_sdk::Usage::default(),
        judging: Judging::Calibrated,
        options: serde_json::Map::new(),
    }
}

/// Raw weights as f32 holds them; gains lie around 1.
pub(super) fn raw() -> Weights {
    let of = |(seed, weight): (usize, tlbench_sdk::spec::CanonicalWeight)| {
        let count = weight.source.cut_shape().unwrap().iter().product();
        let shift = if weight.name.ends_with(".w") {
            1.0
        } else {
            0.0
        };
        let values = noise(seed as u64, count).into_iter();
        let values = values.map(|v| f64::from((shift + 0.4 * v) as f32));
        (weight.name, values.collect())
    };
    spec().weights().into_iter().enumerate().map(of).collect()
}

/// The shape of a canonical weight, one that folding makes included.
fn shape(name: &str, count: usize) -> Vec<usize> {
    let weights = spec().weights();
    let known = weights.iter().find(|weight| weight.name == name);
    known.map_or(vec![count], |weight| weight.source.cut_shape().unwrap())
}

/// The answer to a question about weights, each rounded once to f32.
pub(super) fn answer(planned: &PlannedRequest, weights: &Weights) -> Trace {
    let values = planned.request.capture.iter().filter_map(|quantity| {
        let Quantity::Weight(name) = quantity else {
            return None;
        };
        let values = weights.get(name)?;
        let rounded: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        let tensor = Tensor::from_vec(rounded, &shape(name, values.len())).unwrap();
        Some((quantity.clone(), tensor))
    });
    Trace {
        values: values.collect(),
        ..Trace::default()
    }
}

pub(super) fn judge(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
) -> Verdict {
    match benchmark.judge(model, check, answers).unwrap() {
        Judgement::Verdict(verdict) => {
            verdict.check(check, model.judging).unwrap();
            verdict
        }
        Judgement::More(_) => panic!("asks for more"),
    }
}
