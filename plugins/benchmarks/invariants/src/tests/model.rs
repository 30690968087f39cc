//! A function of tokens that keeps all invariants, and ways to break them.

use serde_json::json;
use tlbench_sdk::compare::{Floor, log_softmax};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, Check, DType, INPUT_IDS, Judgement, Judging, Mode, ModelInfo,
    ModelSpec, Padding, PlannedRequest, PluginError, Processing, Quantity, Role, Stimulus, Tensor,
    Tier, Trace, TraceRequest, Verdict, hooks, noise,
};

pub(super) const D_VOCAB: usize = 10;
const FLOOR: f64 = 1e-6;

/// What is wrong with the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Each token sees the last one of its row.
    SeesAhead,
    /// A prefix knows how long it is.
    KnowsTheLength,
    /// Every row sees the first token of the first one.
    SeesTheFirstRow,
    /// Every row sees the first token of the last one.
    SeesTheLastRow,
    /// Padding counts as tokens.
    SeesPadding,
    /// Without a mask nothing is seen.
    NeedsTheMask,
    /// The second answer to a question is another one.
    Forgets,
    /// The loss is of the token itself, not of the next.
    LossOfTheSameToken,
    /// Logits are NaN where a row ends.
    EndsInNan,
    /// The logits of the last position are left out.
    LosesTheLastPosition,
    /// Runs of an odd and of an even length differ by a floor, as they do who sum in another order.
    RoundsByLength,
    /// No logits are shown.
    ShowsNothing,
}

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
            plain("text", &[vec![1, 2, 3, 4, 5, 6]], Padding::Right),
            plain("left_padded", &[vec![1, 2, 3], vec![4]], Padding::Left),
            plain("right_padded", &[vec![5], vec![6, 7, 8]], Padding::Right),
        ],
        firings: [].into(),
        usage: tlbench_sdk::Usage::default(),
        judging: Judging::Calibrated,
        options: serde_json::Map::new(),
    }
}

pub(super) fn plain(id: &str, rows: &[Vec<i64>], padding: Padding) -> Stimulus {
    let stimulus = Stimulus::from_rows(id, rows, padding, 0).unwrap();
    stimulus.showing([Quantity::Logits, Quantity::LossPerToken])
}

/// The logits of each position: a direction, times the sum of the tokens that it sees.
fn logits(request: &TraceRequest, fault: Fault) -> Tensor {
    let [batch, pos] = request.shape();
    let ids = request.inputs[INPUT_IDS].as_slice::<i64>().unwrap();
    let mask = request.inputs.get(ATTENTION_MASK);
    let mask = mask.map(|mask| mask.as_slice::<i64>().unwrap().to_vec());
    let is_seen = |at: usize| match (&mask, fault) {
        (_, Fault::SeesPadding) => true,
        (None, Fault::NeedsTheMask) => false,
        (None, _) => true,
        (Some(mask), _) => mask[at] != 0,
    };
    let weight = |at: usize| {
        if is_seen(at) {
            0.1 * (ids[at] + 1) as f64
        } else {
            0.0
        }
    };
    let direction = noise(3, D_VOCAB);
    let mut values = Vec::new();
    for at in 0..batch * pos {
        let first = at / pos * pos;
        let mut sum: f64 = (first..=at).map(weight).sum();
        match fault {
            Fault::SeesAhead => sum += weight(first + pos - 1),
            Fault::KnowsTheLength => sum += pos as f64,
            Fault::SeesTheFirstRow => sum += weight(0),
            Fault::SeesTheLastRow => sum += weight((batch - 1) * pos),
            Fault::EndsInNan if at + 1 == first + pos => sum = f64::NAN,
            _ => {}
        }
        let rounding = match fault {
            Fault::RoundsByLength => FLOOR * (pos % 2) as f64,
            _ => 0.0,
        };
        values.extend(direction.iter().map(|value| value * sum + rounding));
    }
    Tensor::from_vec(values, &[batch, pos, D_VOCAB]).unwrap()
}

fn losses(request: &TraceRequest, logits: &Tensor, fault: Fault) -> Tensor {
    let [batch, pos] = request.shape();
    let ids = request.inputs[INPUT_IDS].as_slice::<i64>().unwrap();
    let mask = request.inputs[ATTENTION_MASK].as_slice::<i64>().unwrap();
    let log_probs = log_softmax(logits).to_f64_vec();
    let offset = usize::from(fault != Fault::LossOfTheSameToken);
    let pairs = (0..batch * pos).filter(|at| at % pos + 1 < pos);
    let loss = |at: usize| {
        let is_pair = mask[at] != 0 && mask[at + 1] != 0;
        let token = ids[at + offset] as usize;
        if is_pair {
            -log_probs[at * D_VOCAB + token]
        } else {
            0.0
        }
    };
    Tensor::from_vec(pairs.map(loss).collect::<Vec<f64>>(), &[batch, pos - 1]).unwrap()
}

fn without_last_position(logits: &Tensor) -> Tensor {
    let &[batch, pos, d_vocab] = logits.shape() else {
        panic!("logits {:?}", logits.shape())
    };
    let rows = logits.to_f64_vec();
    let kept = rows
        .chunks(pos * d_vocab)
        .flat_map(|row| &row[..(pos - 1) * d_vocab]);
    Tensor::from_vec(
        kept.copied().collect::<Vec<f64>>(),
        &[batch, pos - 1, d_vocab],
    )
    .unwrap()
}

fn answer(planned: &PlannedRequest, fault: Fault) -> Trace {
    let request = &planned.request;
    let fault = match planned.role {
        Role::Reference => Fault::None,
        _ => fault,
    };
    let mut trace = Trace::default();
    let floor = Floor {
        cumulative: FLOOR,
        local: None,
    };
    for quantity in &request.capture {
        let logits = logits(request, fault);
        let value = match quantity {
            Quantity::LossPerToken => losses(request, &logits, fault),
            _ if fault == Fault::ShowsNothing => continue,
            _ if fault == Fault::LosesTheLastPosition => without_last_position(&logits),
            _ if fault == Fault::Forgets && planned.repetition > 0 => {
                let next = |value: f64| value * (1.0 + f64::EPSILON);
                let values = logits.to_f64_vec().into_iter().map(next).collect();
                Tensor::from_vec::<f64>(values, logits.shape()).unwrap()
            }
            _ => logits,
        };
        trace.values.insert(quantity.clone(), value);
        trace.floors.insert(quantity.clone(), floor);
    }
    trace
}

/// What subject and reference answer to a check.
pub(super) fn answers(check: &Check, fault: Fault) -> Vec<Trace> {
    let requests = check.requests.iter();
    requests.map(|planned| answer(planned, fault)).collect()
}

pub(super) fn judge(
    benchmark: &dyn Benchmark,
    model: &ModelInfo,
    check: &Check,
    fault: Fault,
) -> Result<Verdict, PluginError> {
    judged(benchmark, model, check, &answers(check, fault))
}

pub(super) fn judged(
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

/// What is said of a check, for snapshots.
pub(super) fn line(verdict: Result<Verdict, PluginError>) -> String {
    match verdict {
        Ok(verdict) => format!("{}: {}", verdict.severity, verdict.message),
        Err(error) => format!("ERROR: {}", error.message),
    }
}
