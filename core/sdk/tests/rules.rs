//! What plugins send is held to rules, and what breaks one is named in one line.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use tlbench_sdk::compare::{Difference, Floor};
use tlbench_sdk::{
    ATTENTION_MASK, Check, Divergence, Evaluation, GenerateRequest, INPUT_IDS, Judging,
    Measurement, POSITION_IDS, Padding, PlannedRequest, Quantity, Sampling, Severity, SourceInfo,
    Stimulus, Tensor, TensorMap, Trace, Verdict, check_plan, fuzzing::reread,
};

const HOOK: &str = "hook_embed";

fn stimulus(id: &str) -> Stimulus {
    let mut stimulus =
        Stimulus::from_rows(id, &[vec![1, 2, 3], vec![4]], Padding::Right, 0).unwrap();
    stimulus.request.capture = vec![
        Quantity::hook(HOOK),
        Quantity::Logits,
        Quantity::LossPerToken,
    ];
    stimulus
}

fn check(variant: &str) -> Check {
    let request = stimulus("text").request;
    Check {
        variant: variant.into(),
        requests: vec![PlannedRequest::subject(request)],
    }
}

fn lines<T, E: std::fmt::Display>(results: impl IntoIterator<Item = Result<T, E>>) -> String {
    let line = |result: Result<T, E>| {
        result
            .err()
            .map_or("fine".to_owned(), |error| error.to_string())
    };
    results.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn plans() {
    let plans: [&[&str]; 6] = [
        &["text", "left_padded"],
        &[],
        &["text", "single", "text"],
        &[""],
        &["text", "a/b"],
        &["\u{1b}[2K\r🟢 [PASS]"],
    ];
    insta::assert_snapshot!(lines(plans.map(|variants| {
        let checks: Vec<Check> = variants.iter().map(|variant| check(variant)).collect();
        check_plan(&checks)
    })), @r#"
    fine
    plans no check; a benchmark that does not apply says so by `unsupported`
    plans two checks of the variant `text`
    plans a check of the variant "": expected an id of 1 to 64 ASCII letters, digits, `_`, `-` or `.`, of which the first is a letter or digit
    plans a check of the variant "a/b": expected an id of 1 to 64 ASCII letters, digits, `_`, `-` or `.`, of which the first is a letter or digit
    plans a check of the variant "\u{1b}[2K\r🟢 [PASS]": expected an id of 1 to 64 ASCII letters, digits, `_`, `-` or `.`, of which the first is a letter or digit
    "#);
}

fn measurement(quantity: Quantity, ratio: f64, severity: Severity) -> Measurement {
    Measurement {
        quantity,
        evaluation: Evaluation::Cumulative,
        ratio,
        floor: 1e-6,
        severity,
        difference: Difference {
            rms: 1e-6,
            truth_rms: 1.0,
            max_abs: 1e-6,
            relative_l2: 1e-6,
            cosine: 1.0,
            rows: 4,
            elements: 8,
            mismatched: 0,
            worst: None,
            by_position: Vec::new(),
        },
        closeness: None,
        pattern: Vec::new(),
    }
}

fn verdict(severity: Severity, measurements: Vec<Measurement>) -> Verdict {
    Verdict {
        measurements,
        ..Verdict::new(severity, "")
    }
}

#[test]
fn verdicts() {
    let (info, danger) = (Severity::Info, Severity::Danger);
    let logits = |ratio, severity| measurement(Quantity::Logits, ratio, severity);
    let elsewhere = || measurement(Quantity::hook("hook_nowhere\n"), 1.0, info);
    let mut without_floor = logits(1.0, info);
    without_floor.floor = f64::NAN;
    let mut diverging = verdict(info, vec![]);
    diverging.first_divergence = Some(Divergence {
        quantity: Quantity::hook(HOOK),
        evaluation: Evaluation::Local,
        ratio: 90.0,
        reason: String::new(),
    });
    let verdicts = [
        verdict(
            info,
            vec![logits(1.0, info), logits(5.0, Severity::Warning)],
        ),
        verdict(danger, vec![logits(f64::NAN, danger)]),
        verdict(info, vec![logits(f64::NAN, info)]),
        verdict(Severity::Warning, vec![without_floor]),
        verdict(info, vec![logits(1.0, info), logits(90.0, danger)]),
        verdict(info, vec![logits(90.0, Severity::Error)]),
        verdict(info, vec![elsewhere()]),
        verdict(danger, vec![elsewhere()]),
        diverging,
    ];
    let told = |judging| {
        lines(
            verdicts
                .iter()
                .map(|verdict| verdict.check(&check("text"), judging)),
        )
    };
    insta::assert_snapshot!(told(Judging::Calibrated), @r#"
    fine
    fine
    passes, but its measurement of logits is NaN
    passes, but its measurement of logits is NaN
    passes, but its measurement of logits is DANGER
    passes, but its measurement of logits is ERROR
    judges the hook "hook_nowhere\n", which none of its requests asked for
    judges the hook "hook_nowhere\n", which none of its requests asked for
    passes, but names a first divergence at hook:hook_embed
    "#);
    insta::assert_snapshot!(told(Judging::Tolerance), @r#"
    fine
    fine
    passes, but its measurement of logits is NaN
    passes, but its measurement of logits is NaN
    fine
    fine
    judges the hook "hook_nowhere\n", which none of its requests asked for
    judges the hook "hook_nowhere\n", which none of its requests asked for
    fine
    "#);
}

#[test]
fn answers() {
    let request = stimulus("text").request;
    let zeros =
        |shape: &[usize]| Tensor::from_vec(vec![0.0_f32; shape.iter().product()], shape).unwrap();
    let good = || Trace {
        values: [
            (Quantity::hook(HOOK), zeros(&[2, 3, 5])),
            (Quantity::Logits, zeros(&[2, 3, 7])),
            (Quantity::LossPerToken, zeros(&[2, 2])),
        ]
        .into(),
        ..Trace::default()
    };
    let with = |quantity: Quantity, value: Tensor| {
        let mut trace = good();
        trace.values.insert(quantity, value);
        trace
    };
    let floored = |cumulative, local| {
        let mut trace = good();
        trace
            .floors
            .insert(Quantity::Logits, Floor { cumulative, local });
        trace
    };
    let mut missing = good();
    missing.values.remove(&Quantity::Logits);
    let ids = Tensor::from_vec(vec![0_i64; 42], &[2, 3, 7]).unwrap();
    let traces = [
        good(),
        floored(0.0, Some(1e-9)),
        missing,
        with(Quantity::Logits, zeros(&[2, 7, 3])),
        with(Quantity::Logits, zeros(&[6, 7])),
        with(Quantity::Logits, ids),
        with(Quantity::LossPerToken, zeros(&[2, 3])),
        with(Quantity::hook(HOOK), zeros(&[3, 2, 5])),
        with(Quantity::hook(HOOK), zeros(&[])),
        // A width is the architecture's, and for the benchmarks to find.
        with(Quantity::hook(HOOK), zeros(&[2, 3, 99])),
        floored(f64::NAN, None),
        floored(-1e-9, None),
        floored(1e-9, Some(f64::INFINITY)),
    ];
    insta::assert_snapshot!(lines(traces.map(|trace| trace.check(&request))), @"
    fine
    fine
    logits was asked for and not shown
    logits: expected shape [2, 3, vocabulary] for an input of [2, 3], found [2, 7, 3]
    logits: expected shape [2, 3, vocabulary] for an input of [2, 3], found [6, 7]
    logits: expected floats, found i64
    loss_per_token: expected shape [2, 2] for an input of [2, 3], found [2, 3]
    hook:hook_embed: expected shape [2, ..] for an input of [2, 3], found [3, 2, 5]
    hook:hook_embed: expected shape [2, ..] for an input of [2, 3], found []
    fine
    logits: expected a finite cumulative floor of at least 0, found NaN
    logits: expected a finite cumulative floor of at least 0, found -1e-9
    logits: expected a finite local floor of at least 0, found inf
    ");
}

#[test]
fn inputs_of_a_reference() {
    let with = |name: &str, tensor: Tensor| {
        let mut stimulus = stimulus("text");
        stimulus.request.inputs.insert(name.into(), tensor);
        vec![stimulus]
    };
    let without = |name: &str| {
        let mut stimulus = stimulus("text");
        stimulus.request.inputs.remove(name).unwrap();
        vec![stimulus]
    };
    let mut mute = stimulus("text");
    mute.request.capture.clear();
    let mut continued = with(
        ATTENTION_MASK,
        Tensor::from_vec(vec![0_i64, 1, 1, 0, 0, 0], &[2, 3]).unwrap(),
    )
    .remove(0);
    continued.request.generate = Some(GenerateRequest {
        max_new_tokens: 1,
        stop_tokens: Vec::new(),
        use_cache: true,
        sampling: Sampling::Greedy,
    });
    let sources = [
        vec![stimulus("text"), stimulus("single")],
        vec![stimulus("text"), stimulus("text")],
        vec![stimulus("te/xt")],
        without(INPUT_IDS),
        without(ATTENTION_MASK),
        with(INPUT_IDS, Tensor::from_vec::<i64>(vec![], &[2, 0]).unwrap()),
        with(
            INPUT_IDS,
            Tensor::from_vec(vec![1.0_f32; 6], &[2, 3]).unwrap(),
        ),
        with(INPUT_IDS, Tensor::vector(vec![1_i64, 2])),
        with(
            POSITION_IDS,
            Tensor::from_vec(vec![0_i64; 6], &[3, 2]).unwrap(),
        ),
        with(
            ATTENTION_MASK,
            Tensor::from_vec(vec![0_i64; 6], &[2, 3]).unwrap(),
        ),
        vec![mute],
        vec![continued],
    ];
    insta::assert_snapshot!(lines(sources.map(|stimuli| {
        let info = SourceInfo { stimuli, ..SourceInfo::default() };
        info.check()
    })), @r#"
    fine
    two inputs of the name `text`
    an input of the name "te/xt": expected an id of 1 to 64 ASCII letters, digits, `_`, `-` or `.`, of which the first is a letter or digit
    input `text`: input_ids: expected i64 [batch, pos] with at least one token, found nothing
    input `text`: attention_mask: expected i64 [2, 3], found nothing
    input `text`: input_ids: expected i64 [batch, pos] with at least one token, found i64 [2, 0]
    input `text`: input_ids: expected i64 [batch, pos] with at least one token, found f32 [2, 3]
    input `text`: input_ids: expected i64 [batch, pos] with at least one token, found i64 [2]
    input `text`: position_ids: expected i64 [2, 3], found i64 [3, 2]
    input `text`: attention_mask: expected at least one token, found padding alone
    input `text`: shows nothing
    input `text`: attention_mask: expected a token in each row, for generation to follow, found a row of padding alone
    "#);
}

#[test]
fn a_message_of_a_later_sdk() {
    let read = |kind, json| reread(kind, json, &TensorMap::new()).unwrap();
    insta::assert_snapshot!(lines([
        read("Adapted", r#"{"spec":{"n_streams":2},"keys_read":[],"keys_neutral":[]}"#),
        read("Adapted", r#"{"spec":null,"keys_read":[],"keys_neutral":[]}"#),
        read("TraceRequest", r#"{"capture":[],"beams":4}"#),
        read("TraceRequest", r#"{"capture":["attention:0"]}"#),
    ]), @"
    a message that host and plugin understand differently, as builds of different versions of tlbench-sdk do: unknown field `n_streams`, expected one of `architecture`, `d_model`, `d_vocab`, `n_ctx`, `embedding`, `layers`, `final_norm`, `unembed`, `ignored_tensors` at line 1 column 20
    a message that host and plugin understand differently, as builds of different versions of tlbench-sdk do: invalid type: null, expected struct ModelSpec at line 1 column 12
    a message that host and plugin understand differently, as builds of different versions of tlbench-sdk do: unknown field `beams`, expected one of `processing`, `chunks`, `capture`, `evaluation`, `gradients`, `interventions`, `generate` at line 1 column 21
    a message that host and plugin understand differently, as builds of different versions of tlbench-sdk do: `attention:0` is no quantity (logits, log_probs, loss_per_token, loss, generated, hook:NAME, hook_grad:NAME, param_grad:NAME, weight:NAME) at line 1 column 26
    ");
}
