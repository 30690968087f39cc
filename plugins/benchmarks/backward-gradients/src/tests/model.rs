//! A small model, and gradients that are made up.

use serde_json::{Value, json};
use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    Benchmark, Check, DType, GradientRequest, Judgement, Judging, Mode, ModelInfo, ModelSpec,
    Objective, Padding, Parameter, PlannedRequest, PluginError, Processing, Quantity, Stimulus,
    Tensor, Tier, Trace, Verdict, hooks, noise,
};

pub(super) const D_MODEL: usize = 6;
pub(super) const POS: usize = 5;
pub(super) const D_VOCAB: usize = 11;
/// The floor of every value.
pub(super) const FLOOR: f64 = 1e-6;

fn spec() -> ModelSpec {
    let mlp = json!({
        "input": { "norm": norm("ln2") },
        "body": { "dense": {
            "d_mlp": 7, "activation": "gelu", "module": null,
            "input": linear("in", 7, D_MODEL), "output": linear("out", D_MODEL, 7),
        }},
    });
    let spec: ModelSpec = serde_json::from_value(json!({
        "architecture": "Small", "d_model": D_MODEL, "d_vocab": D_VOCAB, "n_ctx": 9,
        "embedding": { "tokens": tensor("wte", &[D_VOCAB, D_MODEL]), "module": null },
        "layers": [{ "wiring": "sequential", "module": null, "attn": null, "mlp": mlp }],
        "final_norm": norm("ln_f"),
        "unembed": { "projection": linear("head", D_VOCAB, D_MODEL), "d_vocab_out": D_VOCAB },
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

/// The model, with a plain text, one that is differentiated in full, and one of which little is shown.
pub(super) fn model() -> ModelInfo {
    let spec = spec();
    let hooks = hooks(&spec);
    let parameters: Vec<Parameter> = spec
        .sources()
        .into_iter()
        .map(|(_, source)| Parameter {
            name: source.names[0].clone(),
            shape: source.shape.clone(),
        })
        .collect();
    let by_default = hooks.iter().filter(|hook| hook.gate.is_none());
    let full = by_default
        .map(|hook| Quantity::HookGradient(hook.name.clone()))
        .chain(
            parameters
                .iter()
                .map(|parameter| Quantity::ParameterGradient(parameter.name.clone())),
        )
        .collect();
    let thin = vec![gradient("hook_embed"), gradient("blocks.0.hook_resid_post")];
    let text = Stimulus::from_rows("text", &[vec![1, 2, 3, 4, 5]], Padding::Right, 0).unwrap();
    ModelInfo {
        name: "small".into(),
        subject: "bridge".into(),
        mode: Mode::Raw,
        processing: Processing::raw(),
        dtype: DType::F32,
        stimuli: vec![
            differentiated("loss", Objective::Loss, thin),
            differentiated("projection", Objective::Projection { seed: 0 }, full),
            text.showing([Quantity::Logits]),
        ],
        parameters,
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

fn differentiated(id: &str, objective: Objective, capture: Vec<Quantity>) -> Stimulus {
    let stimulus = Stimulus::from_rows(id, &[vec![1, 2, 3, 4, 5]], Padding::Right, 0).unwrap();
    let mut stimulus = stimulus.showing(capture);
    stimulus.request.gradients = Some(GradientRequest { objective });
    stimulus
}

pub(super) fn gradient(hook: &str) -> Quantity {
    Quantity::HookGradient(hook.to_owned())
}

pub(super) fn parameter_gradient(name: &str) -> Quantity {
    Quantity::ParameterGradient(name.to_owned())
}

/// What a healthy implementation answers about gradients.
pub(super) fn healthy(model: &ModelInfo, planned: &PlannedRequest) -> Trace {
    let [batch, pos] = planned.request.shape();
    let shape = |quantity: &Quantity| match quantity {
        Quantity::HookGradient(name) => {
            let hook = model.hooks.iter().find(|hook| hook.name == *name);
            Some(hook.map_or_else(|| vec![batch, pos, 1], |hook| hook.sizes(batch, pos)))
        }
        Quantity::ParameterGradient(name) => {
            let parameter = model.parameters.iter().find(|known| known.name == *name);
            Some(parameter.map_or_else(|| vec![2], |parameter| parameter.shape.clone()))
        }
        _ => None,
    };
    let floor = Floor {
        cumulative: FLOOR,
        local: None,
    };
    let asked = planned.request.capture.iter();
    let values = asked.filter_map(|quantity| {
        let shape = shape(quantity)?;
        let values = noise(1, shape.iter().product());
        Some((quantity.clone(), Tensor::from_vec(values, &shape).ok()?))
    });
    let values = values.collect::<std::collections::BTreeMap<_, _>>();
    Trace {
        floors: values
            .keys()
            .map(|quantity| (quantity.clone(), floor))
            .collect(),
        values,
    }
}

/// Changes one value, element by element.
pub(super) fn edit(trace: &mut Trace, quantity: &Quantity, edit: impl Fn(f64) -> f64) {
    let value = trace.values.get_mut(quantity).unwrap();
    let edited = value.to_f64_vec().into_iter().map(edit).collect();
    *value = Tensor::from_vec::<f64>(edited, value.shape()).unwrap();
}

/// The verdict on the check `variant`, after `fault` was made in the subject's answer.
pub(super) fn judge(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    variant: &str,
    fault: impl Fn(&mut Trace),
) -> Verdict {
    let check = check(benchmark, model, variant);
    let answers = check.requests.iter().map(|planned| healthy(model, planned));
    let mut answers: Vec<Trace> = answers.collect();
    fault(&mut answers[1]);
    verdict(benchmark, model, &check, &answers).unwrap()
}

pub(super) fn verdict(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
) -> Result<Verdict, PluginError> {
    match benchmark.judge(model, check, answers)? {
        Judgement::Verdict(verdict) => {
            verdict.check(check, model.judging).unwrap();
            Ok(verdict)
        }
        Judgement::More(_) => panic!("asks for more"),
    }
}

pub(super) fn check(benchmark: &dyn Benchmark, model: &ModelInfo, variant: &str) -> Check {
    let mut checks = benchmark.plan(model).unwrap().into_iter();
    checks.find(|check| check.variant == variant).unwrap()
}

/// Severity and message, for snapshots.
pub(super) fn line(verdict: &Verdict) -> String {
    format!("{}: {}", verdict.severity, verdict.message)
}
