//! The same calls again.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, ErrorKind, INPUT_IDS, Sampling, Trace, check_plan};

use super::model::{check, judge, large, line, logits, model, tokens};
use crate::repeated::MultipleGenerationCalls;

fn complaint(answers: &[Trace]) -> String {
    let verdict = judge(
        &MultipleGenerationCalls,
        &model(),
        "sampled",
        answers,
        |planned| logits(planned.request.shape(), |_, _| 0.0),
    );
    line(&verdict.unwrap())
}

#[test]
fn every_prompt_is_asked_again_in_the_other_order_and_anew() {
    let model = model();
    check_plan(&MultipleGenerationCalls.plan(&model).unwrap()).unwrap();
    let check = check(&MultipleGenerationCalls, &model, "sampled");
    let asked: Vec<(usize, u32)> = check
        .requests
        .iter()
        .map(|planned| (planned.request.inputs[INPUT_IDS].len(), planned.repetition))
        .collect();
    assert_eq!(asked, [(3, 0), (6, 0), (6, 1), (3, 1)]);
    let sampling = &check.requests[0]
        .request
        .generate
        .as_ref()
        .unwrap()
        .sampling;
    assert!(matches!(sampling, Sampling::Temperature { .. }));
}

#[test]
fn of_a_large_model_one_prompt_is_sampled_for() {
    let calls = ["greedy", "sampled"].map(|variant| {
        check(&MultipleGenerationCalls, &large(), variant)
            .requests
            .len()
    });
    assert_eq!(calls, [4, 2]);
}

#[test]
fn calls_that_leave_nothing_behind() {
    let (one, two) = (tokens(&[&[2, 3]]), tokens(&[&[4, 5], &[6, 7]]));
    assert_snapshot!(complaint(&[one.clone(), two.clone(), two, one]), @"INFO: 2 calls give the same tokens again, in the other order");
}

#[test]
fn a_call_that_leaks_into_the_next() {
    let (one, two) = (tokens(&[&[2, 3]]), tokens(&[&[4, 5], &[6, 7]]));
    let other = tokens(&[&[4, 5], &[6, 8]]);
    assert_snapshot!(complaint(&[one.clone(), two.clone(), other, one.clone()]), @"DANGER: generation_padded gives other tokens when it is asked for again: row 1, step 1: token 8 where the first call has token 7");
    assert_snapshot!(complaint(&[one, two.clone(), two, tokens(&[&[1, 3]])]), @"DANGER: generation gives other tokens when it is asked for again: row 0, step 0: token 1 where the first call has token 2");
}

#[test]
fn a_call_that_ends_earlier_the_second_time() {
    let (one, two) = (tokens(&[&[2, 3]]), tokens(&[&[4, 5], &[6, 7]]));
    assert_snapshot!(complaint(&[one, two.clone(), two, tokens(&[&[2]])]), @"DANGER: generation gives other tokens when it is asked for again: row 0, step 1: the end where the first call has token 3");
}

#[test]
fn calls_that_give_no_token_show_nothing() {
    let (one, two) = (tokens(&[&[]]), tokens(&[&[], &[]]));
    let answers = [one.clone(), two.clone(), two, one];
    let verdict = judge(
        &MultipleGenerationCalls,
        &model(),
        "greedy",
        &answers,
        |planned| logits(planned.request.shape(), |_, _| 0.0),
    );
    let error = verdict.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_snapshot!(error.message, @"no token was generated");
}

#[test]
fn answers_that_are_missing_are_an_error() {
    let model = model();
    let check = check(&MultipleGenerationCalls, &model, "greedy");
    let answers = vec![tokens(&[&[2, 3]]); 3];
    let error = MultipleGenerationCalls
        .judge(&model, &check, &answers)
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert_snapshot!(error.message, @"3 answers to judge");
}

#[test]
fn a_reference_that_generates_nothing_leaves_no_prompts() {
    let mut model = model();
    model.stimuli.truncate(1);
    let error = MultipleGenerationCalls.plan(&model).unwrap_err();
    assert_snapshot!(error.message, @"the reference shows generated tokens on no input");
}
