//! A model without layers, and what it answers.

use serde_json::json;
use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    Benchmark, Check, DType, GenerateRequest, Judgement, Judging, Mode, ModelInfo, ModelSpec,
    Padding, Parameter, PlannedRequest, PluginError, Processing, Quantity, Role, Sampling,
    Stimulus, Tensor, Tier, Trace, Verdict, hooks,
};

pub(super) const D_VOCAB: usize = 10;
pub(super) const STOP: i64 = 9;
/// The floor of logits whose RMS is about 3.
pub(super) const FLOOR: f64 = 1e-6;

pub(super) fn model() -> ModelInfo {
    let tensor = |shape: &[usize]| json!({ "names": ["wte"], "shape": shape });
    let spec: ModelSpec = serde_json::from_value(json!({
        "architecture": "Bare", "d_model": 2, "d_vocab": D_VOCAB, "n_ctx": null,
        "embedding": { "tokens": tensor(&[D_VOCAB, 2]), "module": null },
        "layers": [], "final_norm": null,
        "unembed": {
            "projection": { "weight": tensor(&[D_VOCAB, 2]), "bias": null, "tap": null },
            "d_vocab_out": D_VOCAB,
        },
    }))
    .unwrap();
    ModelInfo {
        name: "bare".into(),
        subject: "bridge".into(),
        mode: Mode::Raw,
        processing: Processing::raw(),
        parameters: Vec::new(),
        dtype: DType::F32,
        hooks: hooks(&spec),
        spec,
        reference: "made-up".into(),
        tier: Tier::HuggingFace,
        stimuli: vec![
            plain("text", &[vec![1, 2, 3, 4, 5, 6, 7, 8]]),
            generating("generation", &[vec![1, 2, 3]], 4),
            generating("generation_padded", &[vec![1, 2, 3], vec![4]], 4),
        ],
        firings: [].into(),
        usage: tlbench_sdk::Usage::default(),
        judging: Judging::Calibrated,
        options: serde_json::Map::new(),
    }
}

/// The same, of so many parameters that little is asked.
pub(super) fn large() -> ModelInfo {
    ModelInfo {
        parameters: vec![Parameter {
            name: "wte".into(),
            shape: vec![17, 1 << 20],
        }],
        ..model()
    }
}

pub(super) fn plain(id: &str, rows: &[Vec<i64>]) -> Stimulus {
    let stimulus = Stimulus::from_rows(id, rows, Padding::Right, 0).unwrap();
    stimulus.showing([Quantity::Logits])
}

pub(super) fn generating(id: &str, rows: &[Vec<i64>], max_new_tokens: usize) -> Stimulus {
    let stimulus = Stimulus::from_rows(id, rows, Padding::Left, 0).unwrap();
    let mut stimulus = stimulus.showing([Quantity::Generated]);
    stimulus.request.generate = Some(GenerateRequest {
        max_new_tokens,
        stop_tokens: vec![STOP as usize],
        use_cache: true,
        sampling: Sampling::Greedy,
    });
    stimulus
}

pub(super) fn tokens(rows: &[&[i64]]) -> Trace {
    let tensor = Tensor::from_vec(rows.concat(), &[rows.len(), rows[0].len()]).unwrap();
    Trace {
        values: [(Quantity::Generated, tensor)].into(),
        ..Trace::default()
    }
}

/// Logits for `[batch, pos]`: the same at each position, but where `edit` of the token's id says otherwise.
pub(super) fn logits([batch, pos]: [usize; 2], edit: impl Fn(usize, usize) -> f64) -> Trace {
    let count = batch * pos * D_VOCAB;
    let value = |index: usize| {
        let (at, token) = (index / D_VOCAB % pos, index % D_VOCAB);
        [1.0, -3.0, 4.0, 2.0, -1.0, 5.0, -4.0, 3.0, 0.5, -2.0][token] + edit(at, token)
    };
    let tensor = Tensor::from_vec(
        (0..count).map(value).collect::<Vec<f64>>(),
        &[batch, pos, D_VOCAB],
    );
    let floor = Floor {
        cumulative: FLOOR,
        local: None,
    };
    Trace {
        values: [(Quantity::Logits, tensor.unwrap())].into(),
        floors: [(Quantity::Logits, floor)].into(),
    }
}

pub(super) fn check(benchmark: &dyn Benchmark, model: &ModelInfo, variant: &str) -> Check {
    let mut checks = benchmark.plan(model).unwrap().into_iter();
    checks.find(|check| check.variant == variant).unwrap()
}

/// The verdict, where `generations` answer in turn and `logits` whoever is asked for logits.
pub(super) fn judge(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    variant: &str,
    generations: &[Trace],
    logits: impl Fn(&PlannedRequest) -> Trace,
) -> Result<Verdict, PluginError> {
    let mut check = check(benchmark, model, variant);
    let mut generations = generations.iter();
    let mut answer = |planned: &PlannedRequest| match &planned.request.generate {
        Some(_) => generations.next().unwrap().clone(),
        None => logits(planned),
    };
    let mut answers: Vec<Trace> = check.requests.iter().map(&mut answer).collect();
    loop {
        match benchmark.judge(model, &check, &answers)? {
            Judgement::Verdict(verdict) => {
                verdict.check(&check, model.judging).unwrap();
                return Ok(verdict);
            }
            Judgement::More(asked) => {
                assert!(asked.iter().all(|planned| planned.role == Role::Subject));
                answers.extend(asked.iter().map(&mut answer));
                check.requests.extend(asked);
            }
        }
    }
}

/// Severity and message, for snapshots.
pub(super) fn line(verdict: &Verdict) -> String {
    format!("{}: {}", verdict.severity, verdict.message)
}
