//! Rows of a batch against rows alone, and a cache against none.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, INPUT_IDS, Trace, check_plan};

use super::model::{check, judge, large, line, logits, model, tokens};
use crate::batched::BatchedGeneration;

/// What is said of answers in turn; no two of the subject's logits tie but those of tokens 2 and 5.
fn complaint(variant: &str, answers: &[Trace]) -> String {
    let verdict = judge(&BatchedGeneration, &model(), variant, answers, |planned| {
        logits(
            planned.request.shape(),
            |_, token| if token == 5 { -1.0 } else { 0.0 },
        )
    });
    verdict.map_or_else(|error| format!("ERROR: {error}"), |verdict| line(&verdict))
}

fn rows(batch: &[&[i64]], alone: [&[i64]; 2]) -> String {
    let answers = [tokens(batch), tokens(&[alone[0]]), tokens(&[alone[1]])];
    complaint("generation_padded.rows", &answers)
}

#[test]
fn each_row_is_asked_alone_and_without_its_padding() {
    let model = model();
    let checks = BatchedGeneration.plan(&model).unwrap();
    check_plan(&checks).unwrap();
    let variants: Vec<&str> = checks.iter().map(|check| check.variant.as_str()).collect();
    assert_eq!(
        variants,
        [
            "generation.uncached",
            "generation_padded.uncached",
            "generation_padded.rows"
        ]
    );
    let asked: Vec<&[i64]> = checks[2].requests[1..3]
        .iter()
        .map(|planned| planned.request.inputs[INPUT_IDS].as_slice().unwrap())
        .collect();
    assert_eq!(asked, [&[1, 2, 3][..], &[4]]);
}

#[test]
fn of_a_large_model_batches_alone_are_generated_without_a_cache() {
    let variants = |model| {
        let checks = BatchedGeneration.plan(&model).unwrap().into_iter();
        checks.map(|check| check.variant).collect::<Vec<_>>()
    };
    let expected = ["generation_padded.uncached", "generation_padded.rows"];
    assert_eq!(variants(large()), expected);
    let mut without_batch = large();
    without_batch.stimuli.pop();
    assert_eq!(variants(without_batch), ["generation.uncached"]);
}

#[test]
fn a_cache_is_compared_with_none() {
    let check = check(&BatchedGeneration, &model(), "generation.uncached");
    let cached: Vec<bool> = check.requests[..2]
        .iter()
        .map(|planned| planned.request.generate.as_ref().unwrap().use_cache)
        .collect();
    assert_eq!(cached, [true, false]);
}

#[test]
fn rows_that_are_the_same_alone() {
    assert_snapshot!(rows(&[&[2, 3, 4], &[5, 6, 7]], [&[2, 3, 4], &[5, 6, 7]]), @"INFO: 2 rows of 3 tokens as in a run of the row alone");
}

#[test]
fn a_row_that_its_neighbour_changes() {
    assert_snapshot!(rows(&[&[2, 3, 4], &[5, 6, 7]], [&[2, 3, 4], &[5, 7, 7]]), @"DANGER: row 1, step 1: token 6 where a run of the row alone has token 7; the subject's own logits prefer the other by 7.0e6 floors");
}

#[test]
fn a_tie_in_a_row() {
    assert_snapshot!(rows(&[&[2, 3, 4], &[5, 6, 7]], [&[2, 3, 4], &[2, 6, 7]]), @"INFO: the same tokens as a run of the row alone, up to a tie within rounding");
}

#[test]
fn a_row_that_has_ended_is_filled_up() {
    assert_snapshot!(rows(&[&[2, 3, 4], &[5, 9, 9]], [&[2, 3, 4], &[5, 9]]), @"INFO: 2 rows of 3 tokens as in a run of the row alone");
}

#[test]
fn a_row_that_goes_on_behind_its_end() {
    assert_snapshot!(rows(&[&[2, 3, 4], &[5, 9, 7]], [&[2, 3, 4], &[5, 9]]), @"DANGER: row 1, step 2: token 7 where a run of the row alone has token 9; the subject's logits prefer it by 5.0e6 floors");
}

#[test]
fn a_batch_that_ends_before_its_rows_do() {
    assert_snapshot!(rows(&[&[2, 3], &[5, 9]], [&[2, 3, 4], &[5, 9]]), @"DANGER: row 0, step 2: the end where a run of the row alone has token 4");
}

#[test]
fn of_several_rows_that_differ_the_first_is_named_with_its_first_step() {
    assert_snapshot!(rows(&[&[2, 3, 4], &[5, 6, 7]], [&[2, 4, 3], &[1, 6, 7]]), @"DANGER: row 0, step 1: token 3 where a run of the row alone has token 4; the subject's logits prefer it by 3.0e6 floors");
}

#[test]
fn a_batch_that_gives_no_token() {
    assert_snapshot!(rows(&[&[], &[]], [&[], &[]]), @"ERROR: no token was generated");
}

#[test]
fn a_batch_that_loses_a_row() {
    assert_snapshot!(rows(&[&[2, 3, 4]], [&[2, 3, 4], &[5, 9, 9]]), @"ERROR: tokens [1, 3] of a batch of 2");
}

#[test]
fn a_cache_that_changes_a_token() {
    let answers = [tokens(&[&[2, 3, 4]]), tokens(&[&[2, 3, 7]])];
    assert_snapshot!(complaint("generation.uncached", &answers), @"DANGER: row 0, step 2: token 4 where a run without a cache has token 7; the subject's own logits prefer the other by 4.0e6 floors");
    let answers = [tokens(&[&[2, 3, 4]]), tokens(&[&[2, 3, 4]])];
    assert_snapshot!(complaint("generation.uncached", &answers), @"INFO: 3 tokens as in a run without a cache");
}
