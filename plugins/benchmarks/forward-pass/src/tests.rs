//! The verdicts on a model without layers, whose answers are made up.

use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    Benchmark, DType, ErrorKind, Evaluation, Judgement, Judging, Mode, ModelInfo, ModelSpec,
    Padding, Processing, Quantity, Severity, Stimulus, Tensor, Tier, Trace, Verdict, hooks,
};

use crate::forward_pass::ForwardPass;
use crate::logits::LogitsEquivalence;
use crate::loss::LossEquivalence;

const TOKENS: i64 = 9;
const D_MODEL: usize = 2;
const D_VOCAB: usize = 10;

fn model() -> ModelInfo {
    let tensor = |shape: &[usize]| serde_json::json!({ "names": ["wte"], "shape": shape });
    let spec: ModelSpec = serde_json::from_value(serde_json::json!({
        "architecture": "Bare",
        "d_model": D_MODEL,
        "d_vocab": D_VOCAB,
        "n_ctx": null,
        "embedding": { "tokens": tensor(&[D_VOCAB, D_MODEL]), "module": null },
        "layers": [],
        "final_norm": null,
        "unembed": {
            "projection": { "weight": tensor(&[D_VOCAB, D_MODEL]), "bias": null, "tap": null },
            "d_vocab_out": D_VOCAB,
            "config_keys": ["vocab_size"],
        },
    }))
    .unwrap();
    let mut stimulus =
        Stimulus::from_rows("text", &[(0..TOKENS).collect()], Padding::Right, 0).unwrap();
    stimulus.request.capture = quantities();
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
        stimuli: vec![stimulus],
        firings: [].into(),
        usage: tlbench_sdk::Usage::default(),
        judging: Judging::Calibrated,
        options: serde_json::Map::new(),
    }
}

fn quantities() -> Vec<Quantity> {
    vec![
        Quantity::hook("hook_embed"),
        Quantity::hook("unembed.hook_in"),
        Quantity::Logits,
        Quantity::LossPerToken,
        Quantity::Loss,
    ]
}

fn value(quantity: &Quantity, offset: f64) -> Tensor {
    let tokens = TOKENS as usize;
    let shape: Vec<usize> = match quantity {
        Quantity::Hook(_) => vec![1, tokens, D_MODEL],
        Quantity::Logits => vec![1, tokens, D_VOCAB],
        Quantity::LossPerToken => vec![1, tokens - 1],
        _ => vec![],
    };
    if *quantity == Quantity::Loss {
        let losses = value(&Quantity::LossPerToken, offset).to_f64_vec();
        return Tensor::scalar(losses.iter().sum::<f64>() / losses.len() as f64);
    }
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| (i % 7) as f64 + if i % 2 == 0 { offset } else { -offset });
    Tensor::from_vec(values.collect(), &shape).unwrap()
}

/// What the reference answers, with floors of 1e-6.
fn truth() -> Trace {
    let floor = Floor {
        cumulative: 1e-6,
        local: Some(1e-6),
    };
    let floors = quantities()
        .into_iter()
        .chain([Quantity::LogProbs])
        .map(|quantity| (quantity, floor));
    Trace {
        values: quantities()
            .into_iter()
            .map(|q| {
                let v = value(&q, 0.0);
                (q, v)
            })
            .collect(),
        floors: floors.collect(),
    }
}

/// What the subject answers: the truth, off by so many floors in some quantities.
fn subject(off: &[(&str, f64)]) -> Trace {
    let offset = |quantity: &Quantity| {
        off.iter()
            .find(|(name, _)| *name == quantity.to_string())
            .map_or(0.0, |(_, ratio)| ratio * 1e-6)
    };
    Trace {
        values: quantities()
            .into_iter()
            .map(|q| {
                let v = value(&q, offset(&q));
                (q, v)
            })
            .collect(),
        ..Trace::default()
    }
}

fn judge(benchmark: &dyn Benchmark, model: &ModelInfo, answers: &[Trace]) -> Verdict {
    let checks = benchmark.plan(model).unwrap();
    match benchmark.judge(model, &checks[0], answers).unwrap() {
        Judgement::Verdict(verdict) => verdict,
        Judgement::More(_) => panic!("asks for more"),
    }
}

fn first(verdict: &Verdict) -> Option<(String, Evaluation)> {
    verdict
        .first_divergence
        .as_ref()
        .map(|d| (d.quantity.to_string(), d.evaluation))
}

#[test]
fn the_local_run_is_asked_for_once_the_truth_is_known() {
    let model = model();
    let check = &ForwardPass.plan(&model).unwrap()[0];
    let judgement = ForwardPass
        .judge(&model, check, &[truth(), subject(&[])])
        .unwrap();
    let Judgement::More(requests) = judgement else {
        panic!("a verdict without a local run")
    };
    assert_eq!(requests.len(), 1);
    let request = &requests[0].request;
    assert_eq!(request.evaluation, Evaluation::Local);
    assert_eq!(
        request.truth.keys().collect::<Vec<_>>(),
        ["hook_embed", "unembed.hook_in"]
    );
}

#[test]
fn the_severity_follows_the_worst_ratio() {
    for (ratio, severity) in [
        (2.9, Severity::Info),
        (9.0, Severity::Warning),
        (11.0, Severity::Danger),
    ] {
        let off = subject(&[("hook:unembed.hook_in", ratio)]);
        let verdict = judge(&ForwardPass, &model(), &[truth(), off, subject(&[])]);
        assert_eq!(verdict.severity, severity, "{ratio}: {}", verdict.message);
    }
}

#[test]
fn the_first_local_failure_is_the_headline_even_behind_a_cumulative_one() {
    let cumulative = subject(&[("hook:hook_embed", 50.0), ("logits", 90.0)]);
    let local = subject(&[("logits", 40.0)]);
    let verdict = judge(
        &ForwardPass,
        &model(),
        &[truth(), cumulative.clone(), local],
    );
    assert_eq!(first(&verdict), Some(("logits".into(), Evaluation::Local)));
    let verdict = judge(&ForwardPass, &model(), &[truth(), cumulative, subject(&[])]);
    assert_eq!(
        first(&verdict),
        Some(("hook:hook_embed".into(), Evaluation::Cumulative))
    );
}

#[test]
fn a_fault_that_drowns_cumulatively_is_found_locally() {
    let local = subject(&[("hook:unembed.hook_in", 48.6)]);
    let verdict = judge(
        &ForwardPass,
        &model(),
        &[truth(), subject(&[("logits", 1.67)]), local],
    );
    assert_eq!(verdict.severity, Severity::Danger);
    assert_eq!(
        verdict.message,
        "first divergence at unembed.hook_in: local error ratio 48.60"
    );
}

#[test]
fn a_hook_that_only_the_reference_has_is_a_divergence_at_its_place() {
    let mut without = subject(&[("logits", 300.0)]);
    without.values.remove(&Quantity::hook("unembed.hook_in"));
    let verdict = judge(&ForwardPass, &model(), &[truth(), without.clone(), without]);
    assert_eq!(verdict.severity, Severity::Danger);
    assert_eq!(
        verdict.message,
        "first divergence at unembed.hook_in: the subject does not produce it"
    );
}

#[test]
fn nan_is_a_failure_whatever_the_floor() {
    let mut broken = subject(&[]);
    let nan = Tensor::from_vec(
        vec![f64::NAN; TOKENS as usize * D_MODEL],
        &[1, TOKENS as usize, D_MODEL],
    )
    .unwrap();
    broken.values.insert(Quantity::hook("hook_embed"), nan);
    let verdict = judge(&ForwardPass, &model(), &[truth(), broken.clone(), broken]);
    assert_eq!(verdict.severity, Severity::Danger);
    assert!(
        verdict.message.contains("infinite or NaN on one side only"),
        "{}",
        verdict.message
    );
}

#[test]
fn tolerance_decides_where_it_is_asked_for_and_the_ratio_is_told_all_the_same() {
    let mut model = model();
    model.judging = Judging::Tolerance;
    let off = subject(&[("logits", 900.0)]);
    let verdict = judge(&LogitsEquivalence, &model, &[truth(), off.clone()]);
    assert_eq!(verdict.severity, Severity::Info);
    assert!(verdict.measurements[0].ratio > 800.0);
    model.options.insert("atol".into(), 1e-6.into());
    model.options.insert("rtol".into(), 0.into());
    assert_eq!(
        judge(&LogitsEquivalence, &model, &[truth(), off]).severity,
        Severity::Danger
    );
}

#[test]
fn the_mean_loss_is_judged_by_its_summands() {
    // The errors cancel in the mean, and show in the tokens.
    let off = subject(&[("loss_per_token", 40.0)]);
    let verdict = judge(&LossEquivalence, &model(), &[truth(), off]);
    assert_eq!(verdict.severity, Severity::Danger, "{}", verdict.message);
}

#[test]
fn a_mean_that_is_not_that_of_its_summands_fails() {
    let verdict = judge(&LossEquivalence, &model(), &[truth(), subject(&[])]);
    assert_eq!(verdict.severity, Severity::Info, "{}", verdict.message);
    let mut off = subject(&[]);
    off.values.insert(Quantity::Loss, Tensor::scalar(2.5));
    let verdict = judge(&LossEquivalence, &model(), &[truth(), off]);
    assert_eq!(verdict.severity, Severity::Danger);
    assert!(
        verdict
            .message
            .ends_with("the mean of the subject's own losses is 2.625000"),
        "{}",
        verdict.message
    );
}

#[test]
fn one_token_has_no_loss() {
    let mut model = model();
    let mut single = Stimulus::from_rows("single", &[vec![1]], Padding::Right, 0).unwrap();
    single.request.capture = quantities();
    model.stimuli = vec![single];
    let error = LossEquivalence.plan(&model).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(
        error.message,
        "the reference shows the loss of a next token on no input"
    );
    assert_eq!(ForwardPass.plan(&model).unwrap().len(), 1);
}

#[test]
fn an_input_on_which_nothing_is_compared_is_no_check() {
    let mut model = model();
    model.stimuli[0].request.capture = vec![Quantity::LossPerToken, Quantity::Loss];
    for benchmark in [&ForwardPass as &dyn Benchmark, &LogitsEquivalence] {
        let error = benchmark.plan(&model).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    }
}

#[test]
fn options_that_nobody_knows_are_refused() {
    let mut model = model();
    model.options.insert("atoll".into(), 1.into());
    for benchmark in [
        &ForwardPass as &dyn Benchmark,
        &LogitsEquivalence,
        &LossEquivalence,
    ] {
        let error = benchmark.plan(&model).unwrap_err();
        assert!(error.message.contains("unknown key `atoll`"), "{error}");
    }
}
