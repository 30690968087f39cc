//! Verdicts on answers that are made up: edits, and what stays of them.

use tlbench_sdk::compare::Floor;
use tlbench_sdk::{
    Benchmark, Check, Judgement, Mode, ModelInfo, PlannedRequest, Quantity, Role, Severity, Tensor,
    Trace, Verdict,
};

use super::model::{D_MODEL, D_VOCAB, judge, model};
use crate::modification::WeightModification;
use crate::sharing::WeightSharing;
use crate::untouched::RawUntouched;
use crate::weight_processing::WeightProcessing;

const FLOOR: f64 = 1e-6;

/// Made-up values of every quantity, with floors; those of `off` by so many floors.
fn answer(planned: &PlannedRequest, model: &ModelInfo, off: &[(&str, f64)]) -> Trace {
    let offset = |quantity: &Quantity| {
        let found = off.iter().find(|(name, _)| *name == quantity.to_string());
        found.map_or(0.0, |(_, ratio)| ratio * FLOOR)
    };
    let value = |quantity: &Quantity| {
        let shape = match quantity {
            Quantity::Hook(name) => {
                let hook = model.hooks.iter().find(|hook| hook.name == *name).unwrap();
                sizes(hook)
            }
            Quantity::Logits => vec![1, 4, D_VOCAB],
            Quantity::LossPerToken => vec![1, 3],
            Quantity::Loss => vec![],
            _ => vec![D_MODEL],
        };
        let count: usize = shape.iter().product();
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let values = (0..count).map(|i| (i % 5) as f64 + sign(i) * offset(quantity));
        Tensor::from_vec(values.collect(), &shape).unwrap()
    };
    let capture = &planned.request.capture;
    let floor = Floor {
        cumulative: FLOOR,
        local: Some(FLOOR),
    };
    let floors = capture.iter().cloned().chain([Quantity::LogProbs]);
    Trace {
        values: capture
            .iter()
            .map(|quantity| (quantity.clone(), value(quantity)))
            .collect(),
        floors: floors.map(|quantity| (quantity, floor)).collect(),
    }
}

fn sizes(hook: &tlbench_sdk::HookPoint) -> Vec<usize> {
    use tlbench_sdk::Dim;
    let size = |dim: &Dim| match dim {
        Dim::Batch | Dim::One => 1,
        Dim::Pos | Dim::KeyPos => 4,
        Dim::Size { size, .. } => *size,
    };
    hook.shape.iter().map(size).collect()
}

/// Plans the first check and answers it, one list of offsets for each question, until it is decided.
fn run(benchmark: &dyn Benchmark, model: &ModelInfo, off: &[&[(&str, f64)]]) -> Verdict {
    let mut check = benchmark.plan(model).unwrap().remove(0);
    let mut answers = Vec::new();
    loop {
        for planned in &check.requests[answers.len()..] {
            let offsets = off.get(answers.len()).copied().unwrap_or(&[]);
            answers.push(answer(planned, model, offsets));
        }
        match benchmark.judge(model, &check, &answers).unwrap() {
            Judgement::More(requests) => check.requests.extend(requests),
            Judgement::Verdict(verdict) => {
                verdict.check(&check, model.judging).unwrap();
                return verdict;
            }
        }
    }
}

fn told(verdict: &Verdict) -> (Severity, &str) {
    (verdict.severity, verdict.message.as_str())
}

#[test]
fn an_edit_that_shows_and_is_gone_later() {
    for mode in [Mode::Raw, Mode::Compat] {
        let verdict = run(
            &WeightModification,
            &model(mode),
            &[&[], &[], &[("loss_per_token", 4e4)]],
        );
        assert_eq!(
            told(&verdict),
            (
                Severity::Info,
                "blocks.0.attn.W_V of the first head set to 0 changes the losses by 4.00e-2 (rms), 40000 times the \
                 floor, and nothing of it stays"
            )
        );
    }
}

#[test]
fn an_edit_that_is_ignored() {
    let verdict = run(&WeightModification, &model(Mode::Raw), &[]);
    assert_eq!(
        told(&verdict),
        (
            Severity::Danger,
            "blocks.0.attn.W_V of the first head set to 0: no loss changes by a single bit"
        )
    );
    let verdict = run(
        &WeightModification,
        &model(Mode::Raw),
        &[&[], &[], &[("loss_per_token", 0.7)]],
    );
    assert_eq!(verdict.severity, Severity::Danger);
    assert!(
        verdict.message.ends_with("no more than rounding"),
        "{}",
        verdict.message
    );
}

#[test]
fn an_edit_that_stays() {
    for (quantity, name) in [
        ("logits", "logits"),
        ("weight:blocks.0.attn.W_V", "weight blocks.0.attn.W_V"),
    ] {
        let off: [&[(&str, f64)]; 4] = [&[], &[], &[("loss_per_token", 4e4)], &[(quantity, 1e-3)]];
        let verdict = run(&WeightModification, &model(Mode::Raw), &off);
        let message = format!("{name} is not what it was before the edit: something of it stays");
        assert_eq!(told(&verdict), (Severity::Danger, message.as_str()));
    }
}

#[test]
fn the_later_question_is_asked_after_the_edit_and_answered_anew() {
    let model = model(Mode::Raw);
    let check = &WeightModification.plan(&model).unwrap()[0];
    let roles: Vec<Role> = check.requests.iter().map(|planned| planned.role).collect();
    assert_eq!(roles, [Role::Reference, Role::Subject, Role::Subject]);
    let answers: Vec<Trace> = check
        .requests
        .iter()
        .map(|p| answer(p, &model, &[]))
        .collect();
    let Judgement::More(later) = WeightModification.judge(&model, check, &answers).unwrap() else {
        panic!("a verdict without a later answer")
    };
    assert_eq!(later, [check.requests[1].clone().again()]);
}

/// The verdict on a tied embedding, when the row of the first token arrives at these places.
fn tied(embedding: bool, unembedding: bool) -> Verdict {
    let model = model(Mode::Raw);
    let check: &Check = &WeightModification.plan(&model).unwrap()[1];
    let plain = answer(&check.requests[0], &model, &[]);
    let mut edited = plain.clone();
    if embedding {
        let hook = Quantity::hook("hook_embed");
        let zeros = Tensor::from_vec(vec![0.0; 4 * D_MODEL], &[1, 4, D_MODEL]).unwrap();
        edited.values.insert(hook, zeros);
    }
    if unembedding {
        let mut logits = plain.value(&Quantity::Logits).unwrap().to_f64_vec();
        logits.chunks_mut(D_VOCAB).for_each(|row| row[1] = 0.0);
        let logits = Tensor::from_vec(logits, &[1, 4, D_VOCAB]).unwrap();
        edited.values.insert(Quantity::Logits, logits);
    }
    judge(&WeightModification, &model, check, &[plain, edited])
}

#[test]
fn an_edit_of_a_tied_tensor_arrives_at_both_places() {
    let messages = [(true, true), (true, false), (false, true), (false, false)]
        .map(|(embedding, unembedding)| tied(embedding, unembedding).message);
    assert_eq!(
        messages,
        [
            "row 1 of wte set to 0 changes embedding and unembedding, which share it",
            "row 1 of wte set to 0: it does not arrive at the unembedding",
            "row 1 of wte set to 0: it does not arrive at the embedding",
            "row 1 of wte set to 0: it does not arrive at the embedding, nor at the unembedding",
        ]
    );
    assert_eq!(tied(true, false).severity, Severity::Danger);
}

#[test]
fn an_edit_does_the_same_to_the_reference() {
    let edited = [("loss_per_token", 4e4)];
    let model = model(Mode::Compat);
    let verdict = run(&WeightSharing, &model, &[&[], &edited, &edited]);
    assert_eq!(verdict.severity, Severity::Info, "{}", verdict.message);
    let verdict = run(&WeightSharing, &model, &[&[], &edited, &[]]);
    assert_eq!(verdict.severity, Severity::Danger, "{}", verdict.message);
    let verdict = run(&WeightSharing, &model, &[]);
    assert_eq!(verdict.severity, Severity::Warning);
    assert!(
        verdict.message.ends_with("so this shows little"),
        "{}",
        verdict.message
    );
}

#[test]
fn a_raw_model_that_processing_changed() {
    let model = model(Mode::Compat);
    let verdict = run(&RawUntouched, &model, &[]);
    assert_eq!(verdict.severity, Severity::Info, "{}", verdict.message);
    let off: [&[(&str, f64)]; 3] = [&[], &[], &[("hook:blocks.1.ln1.hook_scale", 1e-3)]];
    assert_eq!(
        told(&run(&RawUntouched, &model, &off)),
        (
            Severity::Danger,
            "blocks.1.ln1.hook_scale is not what it was before weights were processed"
        )
    );
}

#[test]
fn a_hook_that_goes_wrong_under_processing() {
    let model = model(Mode::Compat);
    assert_eq!(run(&WeightProcessing, &model, &[]).severity, Severity::Info);
    let off = [("hook:blocks.1.attn.hook_z", 50.0)];
    for which in [1, 2] {
        let mut offsets: Vec<&[(&str, f64)]> = vec![&[]; which];
        offsets.push(&off);
        let verdict = run(&WeightProcessing, &model, &offsets);
        assert_eq!(verdict.severity, Severity::Danger);
        assert!(
            verdict
                .message
                .starts_with("first divergence at blocks.1.attn.hook_z"),
            "{}",
            verdict.message
        );
    }
}

#[test]
fn distributions_are_compared_beside_the_logits() {
    let verdict = run(&WeightProcessing, &model(Mode::Compat), &[]);
    let measured = verdict
        .measurements
        .iter()
        .any(|m| m.quantity == Quantity::LogProbs);
    assert!(measured);
}

#[test]
fn what_is_not_admitted_and_what_is_left_out_is_told() {
    let mut model = model(Mode::Compat);
    model.options.insert("exhaustive_up_to".into(), 0.into());
    model.spec.unembed.softcap = Some(30.0);
    model.processing = tlbench_sdk::Processing::compat(&model.spec);
    let verdict = run(&WeightProcessing, &model, &[]);
    assert!(
        verdict
            .message
            .ends_with("; sampled: each step alone, and all together"),
        "{}",
        verdict.message
    );
    assert_eq!(verdict.details[0].name, "not admitted: center_unembed");
}
