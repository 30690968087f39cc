use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::benchmark::ModelInfo;
use crate::compare::Floor;
use crate::hooks::hooks;
use crate::judge::{Findings, Forward, judge_forward, plan_forward};
use crate::spec::ModelSpec;
use crate::tensor::TensorMap;
use crate::trace::TraceRequest;

const WIDTH: usize = 4;
const TOKENS: usize = 9;
const FLOOR: f64 = 1e-7;

/// What reads the norm, with its weight and how many outputs it has.
const READERS: [(&str, &str, usize); 3] = [("q", "W_Q", 4), ("k", "W_K", 2), ("v", "W_V", 2)];

/// One block of attention with two query heads on one key head of two channels.
fn model(subject: &str) -> ModelInfo {
    let projection = |rows: usize| json!({ "weight": { "names": ["w"], "shape": [rows, WIDTH] }, "bias": null, "tap": null });
    let norm =
        json!({ "kind": "rms_norm", "eps": 1e-6, "gain": null, "bias": null, "module": null });
    let attention = json!({
        "n_heads": 2, "n_kv_heads": 1, "d_head": 2, "scale": 1.0,
        "q": projection(4), "k": projection(2), "v": projection(2), "o": projection(4),
        "position": "none", "mask": { "band": { "back": null, "ahead": 0 } },
        "module": null, "port": "opaque",
    });
    let layer = json!({
        "wiring": "sequential", "module": null, "mlp": null,
        "attn": { "input": { "norm": norm }, "body": attention },
    });
    let tokens = json!({ "names": ["wte"], "shape": [7, WIDTH] });
    let spec = json!({
        "architecture": "One", "d_model": WIDTH, "d_vocab": 7, "n_ctx": null,
        "embedding": { "tokens": tokens, "module": null }, "layers": [layer], "final_norm": null,
        "unembed": { "projection": { "weight": tokens, "bias": null, "tap": null }, "d_vocab_out": 7 },
    });
    let spec: ModelSpec = serde_json::from_value(spec).unwrap();
    let hooks = hooks(&spec);
    let model: Value = json!({
        "name": "one", "subject": subject, "mode": "raw", "processing": [], "dtype": "f32",
        "spec": spec, "hooks": hooks, "parameters": [], "reference": "r", "tier": "hugging_face",
        "stimuli": [], "judging": "calibrated", "options": {},
    });
    serde_json::from_value(model).unwrap()
}

/// A norm's gain and bias, and the weights `[outputs][WIDTH]` of each reader.
#[derive(Clone, Debug)]
struct Model {
    gain: Vec<f64>,
    bias: Vec<f64>,
    weights: [Vec<Vec<f64>>; 3],
}

impl Model {
    /// What reader `index` shows for `input`.
    fn read(&self, index: usize, input: &[Vec<f64>]) -> Vec<f64> {
        let given = |x: &Vec<f64>| -> Vec<f64> {
            (0..WIDTH)
                .map(|i| self.gain[i] * x[i] + self.bias[i])
                .collect()
        };
        let rows = input.iter().map(given);
        rows.flat_map(|x| {
            self.weights[index]
                .iter()
                .map(move |row| dot(row, &x))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    fn trace(&self, input: &[Vec<f64>]) -> Trace {
        let mut trace = Trace::default();
        let mut put = |hook: &str, values: Vec<f64>, shape: &[usize]| {
            let quantity = Quantity::hook(format!("blocks.0.{hook}").as_str());
            let tensor = Tensor::from_vec(values, shape).unwrap();
            trace.values.insert(quantity.clone(), tensor);
            let floor = Floor {
                cumulative: FLOOR,
                local: Some(FLOOR),
            };
            trace.floors.insert(quantity, floor);
        };
        put("ln1.hook_normalized", input.concat(), &[1, TOKENS, WIDTH]);
        for (index, (letter, _, outputs)) in READERS.into_iter().enumerate() {
            let shape = [1, TOKENS, outputs / 2, 2];
            put(
                &format!("attn.hook_{letter}"),
                self.read(index, input),
                &shape,
            );
        }
        trace
    }

    /// As the bridge shows them: `[heads, WIDTH, d_head]`.
    fn canonical(&self) -> Trace {
        let mut trace = Trace::default();
        for (index, (_, name, outputs)) in READERS.into_iter().enumerate() {
            let rows = &self.weights[index];
            let heads = (0..outputs / 2).flat_map(|head| {
                (0..WIDTH).flat_map(move |i| (0..2).map(move |j| rows[2 * head + j][i]))
            });
            let tensor = Tensor::from_vec(heads.collect(), &[outputs / 2, WIDTH, 2]).unwrap();
            trace
                .values
                .insert(Quantity::Weight(format!("blocks.0.attn.{name}")), tensor);
        }
        trace
    }
}

/// What is found where `wrong` is on trial and `right` is the truth.
fn judged(subject: &str, right: &Model, wrong: &Model, input: &[Vec<f64>]) -> Findings {
    let model = model(subject);
    let truth = right.trace(input);
    let mut inputs = TensorMap::new();
    for name in [crate::INPUT_IDS, crate::ATTENTION_MASK, crate::POSITION_IDS] {
        let ones = Tensor::from_vec(vec![1_i64; TOKENS], &[1, TOKENS]).unwrap();
        inputs.insert(name.to_owned(), ones);
    }
    let names = [
        "ln1.hook_normalized",
        "attn.hook_q",
        "attn.hook_k",
        "attn.hook_v",
    ];
    let capture = names.map(|name| Quantity::hook(format!("blocks.0.{name}").as_str()));
    let check = plan_forward(&model, "text", TraceRequest::new(inputs, capture.to_vec()));
    let found = wrong.trace(input);
    let mut answers = vec![truth, found.clone(), found];
    loop {
        match judge_forward(&model, &check, |_| true, &answers, None).unwrap() {
            Forward::Done(findings) => return findings,
            Forward::Readers(..) => answers.push(wrong.canonical()),
            Forward::Local(_) => panic!("the local run was answered"),
        }
    }
}

fn component(findings: &Findings) -> String {
    findings.at_fault(&model("bridge")).unwrap().part
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-2.0_f64..2.0, count)
}

fn matrix(rows: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(numbers(WIDTH), rows)
}

prop_compose! {
    fn right()(gain in numbers(WIDTH), bias in numbers(WIDTH), q in matrix(4), k in matrix(2), v in matrix(2)) -> Model {
        Model { gain, bias, weights: [q, k, v] }
    }
}

proptest! {
    #[test]
    fn a_norm_with_another_gain_and_bias_is_at_fault(
        right in right(), gain in numbers(WIDTH), bias in numbers(WIDTH), input in matrix(TOKENS),
    ) {
        let wrong = Model { gain, bias, ..right.clone() };
        let findings = judged("bridge", &right, &wrong, &input);
        prop_assert_eq!(component(&findings), "blocks.0.ln1");
    }

    #[test]
    fn attention_with_another_weight_is_at_fault_and_not_the_norm_that_it_reads(
        right in right(), weight in matrix(4), input in matrix(TOKENS),
    ) {
        let mut wrong = right.clone();
        wrong.weights[0] = weight;
        let findings = judged("bridge", &right, &wrong, &input);
        prop_assert_eq!(component(&findings), "blocks.0.attn");
    }

    #[test]
    fn where_nobody_shows_weights_the_norm_is_suspected_if_all_that_reads_it_is_wrong(
        right in right(), gain in numbers(WIDTH), input in matrix(TOKENS),
    ) {
        let wrong = Model { gain, ..right.clone() };
        let findings = judged("another", &right, &wrong, &input);
        prop_assert_eq!(component(&findings), "blocks.0.attn");
        let verdict = findings.verdict(&model("another"), "hooks");
        let mut details = verdict.details.iter();
        let told = details.find(|detail| detail.name == "or perhaps").map(|detail| detail.value.as_str());
        let expected = "blocks.0.ln1, as all that reads it is wrong: attn.hook_q, attn.hook_k and attn.hook_v";
        prop_assert_eq!(told, Some(expected));
    }
}
