//! One block, and answers that are made by hand.

use serde_json::{Value, json};
use tlbench_sdk::compare::Floor;
use tlbench_sdk::spec::LayerSpec;
use tlbench_sdk::{
    Benchmark, Check, DType, ErrorKind, Judgement, Judging, Mode, ModelInfo, ModelSpec, Padding,
    PluginError, Processing, Quantity, Stimulus, Tensor, Tier, Trace, Usage, Verdict, check_plan,
    hooks,
};

pub(super) const HEADS: usize = 2;
pub(super) const D_HEAD: usize = 6;
pub(super) const FLOOR: f64 = 1e-7;

/// The model with blocks of these specs.
pub(super) fn model(layer: Value) -> ModelInfo {
    let tensor = json!({ "names": ["wte"], "shape": [9, 12] });
    let mut spec: ModelSpec = serde_json::from_value(json!({
        "architecture": "LlamaForCausalLM", "d_model": 12, "d_vocab": 9, "n_ctx": null,
        "embedding": { "tokens": tensor, "module": null },
        "layers": [], "final_norm": null,
        "unembed": { "projection": { "weight": tensor, "bias": null, "tap": null }, "d_vocab_out": 9 },
    }))
    .unwrap();
    if !layer.is_null() {
        spec.layers = vec![serde_json::from_value::<LayerSpec>(layer).unwrap()];
    }
    ModelInfo {
        name: "made-up".into(),
        subject: "bridge".into(),
        mode: Mode::Raw,
        processing: Processing::raw(),
        parameters: Vec::new(),
        dtype: DType::F32,
        hooks: hooks(&spec),
        spec,
        reference: "by-hand".into(),
        tier: Tier::HuggingFace,
        stimuli: Vec::new(),
        firings: [].into(),
        usage: Usage::default(),
        judging: Judging::Calibrated,
        options: serde_json::Map::new(),
    }
}

/// A block of attention alone, with `changes` to one that is causal and knows no positions.
pub(super) fn attending(changes: &Value) -> ModelInfo {
    let linear = |name: &str| json!({ "weight": { "names": [name], "shape": [12, 12] }, "bias": null, "tap": null });
    let mut body = json!({
        "n_heads": HEADS, "n_kv_heads": HEADS, "d_head": D_HEAD,
        "q": linear("q"), "k": linear("k"), "v": linear("v"), "o": linear("o"),
        "position": "none", "scale": 0.5, "mask": { "band": { "back": null, "ahead": 0 } },
        "module": null, "port": "opaque",
    });
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    model(json!({
        "wiring": "sequential", "module": null, "mlp": null, "attn": { "input": "stream", "body": body },
    }))
}

/// Rows of tokens on which `hooks` are shown.
pub(super) fn showing(
    mut model: ModelInfo,
    rows: &[usize],
    padding: Padding,
    hooks: &[&str],
) -> ModelInfo {
    let rows: Vec<Vec<i64>> = rows.iter().map(|&length| vec![1; length]).collect();
    let stimulus = Stimulus::from_rows("text", &rows, padding, 0).unwrap();
    let hooks = hooks.iter().map(|hook| Quantity::hook(*hook));
    model.stimuli = vec![stimulus.showing(hooks)];
    model
}

/// An answer with the floor of all tests, locally and cumulatively.
pub(super) fn trace<'a>(values: impl IntoIterator<Item = (&'a str, Tensor)>) -> Trace {
    let mut trace = Trace::default();
    let floor = Floor {
        cumulative: FLOOR,
        local: Some(FLOOR),
    };
    for (hook, value) in values {
        trace.floors.insert(Quantity::hook(hook), floor);
        trace.values.insert(Quantity::hook(hook), value);
    }
    trace
}

pub(super) fn only_check(benchmark: &dyn Benchmark, model: &ModelInfo) -> Check {
    let checks = benchmark.plan(model).unwrap();
    check_plan(&checks).unwrap();
    assert_eq!(checks.len(), 1);
    checks.into_iter().next().unwrap()
}

/// What is made of the answers of reference and subject.
pub(super) fn judged(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    reference: Trace,
    subject: Trace,
) -> Result<Verdict, PluginError> {
    let check = only_check(benchmark, model);
    match benchmark.judge(model, &check, &[reference, subject])? {
        Judgement::Verdict(verdict) => {
            verdict.check(&check, model.judging).unwrap();
            Ok(verdict)
        }
        Judgement::More(_) => panic!("asks for more"),
    }
}

pub(super) fn line(verdict: Result<Verdict, PluginError>) -> String {
    match verdict {
        Ok(verdict) => format!("{}: {}", verdict.severity, verdict.message),
        Err(error) => format!("ERROR: {}", error.message),
    }
}

pub(super) fn detail(verdict: &Verdict, name: &str) -> String {
    let detail = verdict.details.iter().find(|detail| detail.name == name);
    detail.unwrap().value.clone()
}

pub(super) fn refusal(benchmark: &dyn Benchmark, model: &ModelInfo) -> String {
    let error = benchmark.plan(model).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    error.message
}
