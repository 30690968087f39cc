//! A small model, and activations of which only what benchmarks look at belongs together.

use serde_json::{Value, json};
use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    Action, Benchmark, Check, DType, Intervention, Judgement, Judging, Mode, ModelInfo, ModelSpec,
    Padding, PlannedRequest, PluginError, Processing, Quantity, Stimulus, Target, Tensor, Tier,
    Trace, Verdict, hooks, noise,
};

pub(super) const D_MODEL: usize = 6;
pub(super) const HEADS: usize = 2;
pub(super) const POS: usize = 5;
/// The floor of every value.
pub(super) const FLOOR: f64 = 1e-6;

fn spec() -> ModelSpec {
    let inner = HEADS * 4;
    let layer = json!({
        "wiring": "sequential", "module": null,
        "attn": branch("ln1", &json!({
            "n_heads": HEADS, "n_kv_heads": HEADS, "d_head": 4,
            "q": linear("q", inner, D_MODEL), "k": linear("k", inner, D_MODEL),
            "v": linear("v", inner, D_MODEL), "o": linear("o", D_MODEL, inner),
            "position": "none", "scale": 0.5,
            "mask": { "band": { "back": null, "ahead": 0 } },
            "module": null, "port": "opaque",
        })),
        "mlp": branch("ln2", &json!({ "dense": {
            "d_mlp": 7, "activation": "gelu", "module": null,
            "input": linear("in", 7, D_MODEL), "output": linear("out", D_MODEL, 7),
        }})),
    });
    let spec: ModelSpec = serde_json::from_value(json!({
        "architecture": "Small", "d_model": D_MODEL, "d_vocab": 11, "n_ctx": 9,
        "embedding": { "tokens": tensor("wte", &[11, D_MODEL]), "module": null },
        "layers": [layer],
        "final_norm": norm("ln_f"),
        "unembed": { "projection": linear("head", 11, D_MODEL), "d_vocab_out": 11 },
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

/// The model, with a plain input and a batch of edits at three hooks.
pub(super) fn model() -> ModelInfo {
    let spec = spec();
    let hooks = hooks(&spec);
    let by_default = hooks.iter().filter(|hook| hook.gate.is_none());
    let shown: Vec<Quantity> = by_default
        .map(|hook| Quantity::hook(&hook.name))
        .chain([Quantity::Logits])
        .collect();
    let text = Stimulus::from_rows("text", &[vec![1, 2, 3, 4, 5]], Padding::Right, 0).unwrap();
    ModelInfo {
        name: "small".into(),
        subject: "bridge".into(),
        mode: Mode::Raw,
        processing: Processing::raw(),
        dtype: DType::F32,
        parameters: Vec::new(),
        stimuli: vec![text.showing(shown), edits()],
        hooks,
        spec,
        reference: "made-up".into(),
        tier: Tier::HuggingFace,
        firings: [].into(),
        usage: tlbench_sdk::Usage::default(),
        judging: Judging::Calibrated,
        options: serde_json::Map::new(),
    }
}

/// The hooks at which [`edits`] edits, in the rows behind the plain one.
pub(super) const EDITED: [&str; 3] = [
    "blocks.0.hook_resid_pre",
    "blocks.0.attn.hook_z",
    "blocks.0.hook_mlp_out",
];

fn edits() -> Stimulus {
    let rows = vec![vec![1, 2, 3, 4, 5]; 1 + EDITED.len()];
    let stimulus = Stimulus::from_rows("edits", &rows, Padding::Right, 0).unwrap();
    let mut stimulus = stimulus.showing([Quantity::LossPerToken]);
    let action = Action::Perturb {
        seed: 0,
        relative: 0.1,
    };
    let edit = |(index, hook): (usize, &&str)| {
        let target = Target::Hook((*hook).to_owned());
        let edit = Intervention::new(target, action.clone());
        edit.at_rows([index + 1]).at_positions([2])
    };
    stimulus.request.interventions = EDITED.iter().enumerate().map(edit).collect();
    stimulus
}

pub(super) fn floors(trace: &mut Trace) {
    let floor = Floor {
        cumulative: FLOOR,
        local: Some(FLOOR),
    };
    trace.floors = trace.values.keys().map(|q| (q.clone(), floor)).collect();
}

/// What a healthy implementation answers; rows of a batch are the same, but where they are edited or come after that.
pub(super) fn healthy(model: &ModelInfo, planned: &PlannedRequest) -> Trace {
    let [batch, pos] = planned.request.shape();
    let mut trace = Trace::default();
    for quantity in &planned.request.capture {
        let value = match quantity {
            Quantity::Hook(name) => hook_value(model, name, planned),
            Quantity::Logits => filled(7, &[batch, pos, 11], |_| 0.0),
            Quantity::LossPerToken => filled(8, &[batch, pos - 1], |row| 0.1 * row as f64),
            Quantity::Weight(_) => filled(9, &[1, D_MODEL], |_| 0.0)
                .reshaped(&[D_MODEL])
                .unwrap(),
            _ => continue,
        };
        trace.values.insert(quantity.clone(), value);
    }
    floors(&mut trace);
    trace
}

fn hook_value(model: &ModelInfo, name: &str, planned: &PlannedRequest) -> Tensor {
    let [batch, pos] = planned.request.shape();
    let hook = model.hooks.iter().find(|hook| hook.name == name).unwrap();
    let edited = |row: usize| {
        let at = row.checked_sub(1).and_then(|index| EDITED.get(index));
        let at = at.and_then(|at| model.hooks.iter().find(|hook| hook.name == *at));
        at.is_some_and(|at| at.order <= hook.order)
    };
    let change = |row| if edited(row) { 0.1 } else { 0.0 };
    let shape = hook.sizes(batch, pos);
    let stream = |seed| filled(seed, &[batch, pos, D_MODEL], change);
    match tlbench_sdk::short_name(name) {
        "hook_resid_pre" => stream(1),
        "hook_attn_in" | "hook_q_input" | "hook_k_input" | "hook_v_input" => {
            let stream = stream(1).to_f64_vec();
            let copies = stream.chunks(D_MODEL).flat_map(|row| row.repeat(HEADS));
            Tensor::from_vec(copies.map(|v| v as f32).collect(), &shape).unwrap()
        }
        "hook_resid_mid" | "hook_mlp_in" => stream(2),
        "hook_attn_out" => {
            let result = filled(3, &[batch, pos, HEADS, D_MODEL], |_| 0.0).to_f64_vec();
            let bias = filled(9, &[1, D_MODEL], |_| 0.0).to_f64_vec();
            let sum = |at: usize| {
                let (token, channel) = (at / D_MODEL, at % D_MODEL);
                let heads =
                    (0..HEADS).map(|head| result[(token * HEADS + head) * D_MODEL + channel]);
                let row = token / pos;
                (heads.sum::<f64>() + bias[channel] + change(row)) as f32
            };
            Tensor::from_vec((0..batch * pos * D_MODEL).map(sum).collect(), &shape).unwrap()
        }
        "attn.hook_result" => filled(3, &shape, |_| 0.0),
        _ => filled(10 + hook.order as u64, &shape, change),
    }
}

/// Noise that is the same in each row, plus what is added to a row.
fn filled(seed: u64, shape: &[usize], added: impl Fn(usize) -> f64) -> Tensor {
    let width: usize = shape[1..].iter().product();
    let row = noise(seed, width);
    let value = |index: usize| (row[index % width] + added(index / width)) as f32;
    let values = (0..shape[0] * width).map(value).collect();
    Tensor::from_vec(values, shape).unwrap()
}

/// Changes one value, element by element.
pub(super) fn edit(trace: &mut Trace, quantity: &Quantity, edit: impl Fn(usize, f64) -> f64) {
    let Some(value) = trace.values.get_mut(quantity) else {
        return;
    };
    let values = value.to_f64_vec().into_iter().enumerate();
    let edited = values.map(|(index, value)| edit(index, value) as f32);
    *value = Tensor::from_vec(edited.collect(), value.shape()).unwrap();
}

/// The verdict on the check `variant`, after `fault` was made in the answer to question number `i`.
pub(super) fn judge(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    variant: &str,
    fault: impl Fn(usize, &mut Trace),
) -> Result<Verdict, PluginError> {
    let mut check = check(benchmark, model, variant);
    let mut answers: Vec<Trace> = Vec::new();
    loop {
        for planned in &check.requests[answers.len()..] {
            let mut answer = healthy(model, planned);
            fault(answers.len(), &mut answer);
            answers.push(answer);
        }
        match benchmark.judge(model, &check, &answers)? {
            Judgement::Verdict(verdict) => {
                verdict.check(&check, model.judging).unwrap();
                return Ok(verdict);
            }
            Judgement::More(asked) => check.requests.extend(asked),
        }
    }
}

pub(super) fn check(benchmark: &dyn Benchmark, model: &ModelInfo, variant: &str) -> Check {
    let mut checks = benchmark.plan(model).unwrap().into_iter();
    checks.find(|check| check.variant == variant).unwrap()
}

/// Severity and message, for snapshots.
pub(super) fn line(verdict: Result<Verdict, PluginError>) -> String {
    match verdict {
        Ok(verdict) => format!("{}: {}", verdict.severity, verdict.message),
        Err(error) => format!("ERROR: {}", error.message),
    }
}
