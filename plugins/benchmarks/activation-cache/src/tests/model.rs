//! A small model, and activations that belong together in f32.

use serde_json::{Value, json};
use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    Benchmark, Check, DType, Judgement, Judging, Mode, ModelInfo, ModelSpec, Padding,
    PlannedRequest, Processing, Quantity, Stimulus, Tensor, Tier, Trace, Verdict, hooks, noise,
};

pub(super) const D_MODEL: usize = 6;
const HEADS: usize = 2;
const D_HEAD: usize = 4;
const D_MLP: usize = 7;
const D_VOCAB: usize = 11;
const BATCH: usize = 2;
pub(super) const POS: usize = 5;

/// Two blocks of GPT-2's kind, as JSON.
pub(super) fn json() -> Value {
    let inner = HEADS * D_HEAD;
    let layer = json!({
        "wiring": "sequential", "module": null,
        "attn": branch("ln1", &json!({
            "n_heads": HEADS, "n_kv_heads": HEADS, "d_head": D_HEAD,
            "q": linear("q", inner, D_MODEL), "k": linear("k", inner, D_MODEL),
            "v": linear("v", inner, D_MODEL), "o": linear("o", D_MODEL, inner),
            "position": "none", "scale": 0.5,
            "mask": { "band": { "back": null, "ahead": 0 } },
            "module": null, "port": "opaque",
        })),
        "mlp": branch("ln2", &json!({ "dense": {
            "d_mlp": D_MLP, "activation": "gelu", "module": null,
            "input": linear("in", D_MLP, D_MODEL), "output": linear("out", D_MODEL, D_MLP),
        }})),
    });
    json!({
        "architecture": "Small", "d_model": D_MODEL, "d_vocab": D_VOCAB, "n_ctx": 9,
        "embedding": {
            "tokens": tensor("wte", &[D_VOCAB, D_MODEL]), "module": null,
            "positions": { "table": tensor("wpe", &[9, D_MODEL]), "module": null },
        },
        "layers": [layer.clone(), layer],
        "final_norm": norm("ln_f"),
        "unembed": { "projection": linear("head", D_VOCAB, D_MODEL), "d_vocab_out": D_VOCAB },
    })
}

fn tensor(name: &str, shape: &[usize]) -> Value {
    json!({ "names": [name], "shape": shape })
}

pub(super) fn norm(name: &str) -> Value {
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

pub(super) fn spec(json: Value) -> ModelSpec {
    let spec: ModelSpec = serde_json::from_value(json).unwrap();
    spec.check().unwrap();
    spec
}

/// The model, with an input of one row padded on the left and one that is not.
pub(super) fn model() -> ModelInfo {
    let spec = spec(json());
    let hooks = hooks(&spec);
    let rows = [vec![1, 2, 3, 4, 5], vec![6, 7]];
    let shown = hooks.iter().filter(|hook| hook.gate.is_none());
    let shown = shown.map(|hook| Quantity::hook(&hook.name));
    let stimulus = Stimulus::from_rows("batch", &rows, Padding::Left, 0).unwrap();
    ModelInfo {
        name: "small".into(),
        subject: "bridge".into(),
        mode: Mode::Raw,
        processing: Processing::raw(),
        dtype: DType::F32,
        parameters: Vec::new(),
        stimuli: vec![stimulus.showing(shown)],
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

/// Everything that the model can be asked for.
pub(super) struct Activations(pub(super) Trace);

impl Activations {
    /// What a healthy f32 implementation shows.
    pub(super) fn healthy(model: &ModelInfo) -> Self {
        let mut all = Self(Trace::default());
        for (seed, hook) in model.hooks.iter().enumerate() {
            let shape: Vec<usize> = sizes(hook);
            let values = noise(seed as u64, shape.iter().product());
            all.set(&hook.name, values, &shape);
        }
        for (seed, name) in [
            "blocks.0.attn.b_O",
            "blocks.1.attn.b_O",
            "ln_final.w",
            "ln_final.b",
        ]
        .into_iter()
        .enumerate()
        {
            let bias: Vec<f32> = noise(100 + seed as u64, D_MODEL)
                .iter()
                .map(|v| *v as f32)
                .collect();
            let quantity = Quantity::Weight(name.into());
            all.0.values.insert(quantity, Tensor::vector(bias));
        }
        all.sum("blocks.0.hook_resid_pre", &["hook_embed", "hook_pos_embed"]);
        for block in ["blocks.0", "blocks.1"] {
            let name = |hook: &str| format!("{block}.{hook}");
            if block == "blocks.1" {
                all.sum(&name("hook_resid_pre"), &["blocks.0.hook_resid_post"]);
            }
            all.norm(&name("ln1"), &name("hook_resid_pre"));
            all.scores(&name("attn"));
            all.heads(block);
            all.sum(
                &name("hook_resid_mid"),
                &[&name("hook_resid_pre"), &name("hook_attn_out")],
            );
            all.norm(&name("ln2"), &name("hook_resid_mid"));
            all.sum(
                &name("hook_resid_post"),
                &[&name("hook_resid_mid"), &name("hook_mlp_out")],
            );
        }
        all.norm("ln_final", "blocks.1.hook_resid_post");
        let (gain, bias) = (all.weight("ln_final.w"), all.weight("ln_final.b"));
        let finished = all.get("ln_final.hook_normalized").into_iter().enumerate();
        let finished = finished.map(|(i, v)| v * gain[i % D_MODEL] + bias[i % D_MODEL]);
        all.set(
            "unembed.hook_in",
            finished.collect(),
            &[BATCH, POS, D_MODEL],
        );
        all
    }

    pub(super) fn get(&self, hook: &str) -> Vec<f64> {
        self.0.value(&Quantity::hook(hook)).unwrap().to_f64_vec()
    }

    fn weight(&self, name: &str) -> Vec<f64> {
        self.0
            .value(&Quantity::Weight(name.into()))
            .unwrap()
            .to_f64_vec()
    }

    pub(super) fn set(&mut self, hook: &str, values: Vec<f64>, shape: &[usize]) {
        let rounded = values.into_iter().map(|value| value as f32).collect();
        let tensor = Tensor::from_vec::<f32>(rounded, shape).unwrap();
        self.0.values.insert(Quantity::hook(hook), tensor);
    }

    /// Changes the value at `hook`, element by element.
    pub(super) fn edit(&mut self, hook: &str, edit: impl Fn(usize, f64) -> f64) {
        let shape = self
            .0
            .value(&Quantity::hook(hook))
            .unwrap()
            .shape()
            .to_vec();
        let values = self.get(hook).into_iter().enumerate();
        let values = values.map(|(index, value)| edit(index, value)).collect();
        self.set(hook, values, &shape);
    }

    pub(super) fn sum(&mut self, hook: &str, summands: &[&str]) {
        let mut values = vec![0.0; BATCH * POS * D_MODEL];
        for summand in summands {
            for (value, part) in values.iter_mut().zip(self.get(summand)) {
                *value += part;
            }
        }
        self.set(hook, values, &[BATCH, POS, D_MODEL]);
    }

    fn norm(&mut self, name: &str, input: &str) {
        let (mut scales, mut normalized) = (Vec::new(), Vec::new());
        for row in self.get(input).chunks(D_MODEL) {
            let mean = row.iter().sum::<f64>() / D_MODEL as f64;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / D_MODEL as f64;
            let scale = f64::from((variance + 1e-5).sqrt() as f32);
            scales.push(scale);
            normalized.extend(row.iter().map(|v| (v - mean) / scale));
        }
        self.set(&format!("{name}.hook_scale"), scales, &[BATCH, POS, 1]);
        self.set(
            &format!("{name}.hook_normalized"),
            normalized,
            &[BATCH, POS, D_MODEL],
        );
    }

    /// Scores that are masked, and their softmax; a row that sees nothing has an even pattern, as HF gives it.
    fn scores(&mut self, attn: &str) {
        self.edit(&format!("{attn}.hook_attn_scores"), |index, score| {
            let (row, query, key) = (index / (HEADS * POS * POS), index / POS % POS, index % POS);
            let is_padding = row == 1 && key < 3;
            if key > query || is_padding {
                f64::NEG_INFINITY
            } else {
                score
            }
        });
        let mut pattern = Vec::new();
        for row in self.get(&format!("{attn}.hook_attn_scores")).chunks(POS) {
            let sum: f64 = row.iter().map(|score| score.exp()).sum();
            pattern.extend(
                row.iter()
                    .map(|score| if sum == 0.0 { 0.3 } else { score.exp() / sum }),
            );
        }
        self.set(
            &format!("{attn}.hook_pattern"),
            pattern,
            &[BATCH, HEADS, POS, POS],
        );
    }

    fn heads(&mut self, block: &str) {
        let results = self.get(&format!("{block}.attn.hook_result"));
        let bias = self.weight(&format!("{block}.attn.b_O"));
        let sum = |i: usize| {
            let (at, d) = (i / D_MODEL, i % D_MODEL);
            let heads = (0..HEADS).map(|head| results[(at * HEADS + head) * D_MODEL + d]);
            heads.sum::<f64>() + bias[d]
        };
        let values = (0..BATCH * POS * D_MODEL).map(sum).collect();
        self.set(
            &format!("{block}.hook_attn_out"),
            values,
            &[BATCH, POS, D_MODEL],
        );
    }

    /// The answer to a question, with floors.
    pub(super) fn answer(&self, planned: &PlannedRequest) -> Trace {
        let floor = Floor {
            cumulative: 1e-6,
            local: Some(1e-6),
        };
        let asked = planned.request.capture.iter();
        let shown = asked.filter_map(|q| Some((q.clone(), self.0.value(q)?.clone())));
        Trace {
            values: shown.collect(),
            floors: planned
                .request
                .capture
                .iter()
                .map(|q| (q.clone(), floor))
                .collect(),
        }
    }
}

fn sizes(hook: &tlbench_sdk::HookPoint) -> Vec<usize> {
    use tlbench_sdk::Dim;
    let size = |dim: &Dim| match dim {
        Dim::Batch => BATCH,
        Dim::Pos | Dim::KeyPos => POS,
        Dim::One => 1,
        Dim::Size { size, .. } => *size,
    };
    hook.shape.iter().map(size).collect()
}

/// The verdict on the first check, whose question number `i` is answered by `activations[i]`, the last one from there on.
pub(super) fn judge(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    activations: &[&Activations],
) -> Verdict {
    let check: Check = benchmark.plan(model).unwrap().remove(0);
    let answer = |(index, planned): (usize, &PlannedRequest)| {
        activations[index.min(activations.len() - 1)].answer(planned)
    };
    let answers: Vec<Trace> = check.requests.iter().enumerate().map(answer).collect();
    match benchmark.judge(model, &check, &answers).unwrap() {
        Judgement::Verdict(verdict) => {
            verdict.check(&check, model.judging).unwrap();
            verdict
        }
        Judgement::More(_) => panic!("asks for more"),
    }
}
