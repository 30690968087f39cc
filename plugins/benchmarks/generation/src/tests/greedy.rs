//! Greedy tokens against the reference's.

use insta::assert_snapshot;
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, DType, ErrorKind, INPUT_IDS, Judgement, POSITION_IDS, Quantity,
    Tensor, Trace,
};

use super::model::{FLOOR, check, generating, judge, line, logits, model, tokens};
use crate::greedy::Generation;

/// What is said of `found` where the reference has `expected`, when the subject's logits of token 5 at the fourth
/// position are `floors` above those of token 2.
fn complaint(found: &[i64], expected: &[i64], floors: f64) -> String {
    let answers = [tokens(&[expected]), tokens(&[found])];
    let verdict = judge(&Generation, &model(), "generation", &answers, |planned| {
        logits(planned.request.shape(), |_, token| {
            if token == 5 {
                floors * FLOOR - 1.0
            } else {
                0.0
            }
        })
    });
    line(&verdict.unwrap())
}

#[test]
fn the_same_tokens() {
    assert_snapshot!(complaint(&[5, 2, 2, 2], &[5, 2, 2, 2], 0.0), @"INFO: 4 tokens as in the reference");
    assert_snapshot!(complaint(&[9], &[9], 0.0), @"INFO: 1 token as in the reference");
}

#[test]
fn a_batch_of_the_same_tokens() {
    let answer = tokens(&[&[5, 2], &[2, 9]]);
    let verdict = judge(
        &Generation,
        &model(),
        "generation_padded",
        &[answer.clone(), answer],
        |planned| logits(planned.request.shape(), |_, _| 0.0),
    );
    assert_snapshot!(line(&verdict.unwrap()), @"INFO: 2 rows of 2 tokens as in the reference");
}

#[test]
fn another_token_where_the_choice_is_clear() {
    assert_snapshot!(complaint(&[2, 5, 2, 2], &[2, 2, 2, 2], 400.0), @"DANGER: row 0, step 1: token 5 where the reference has token 2; the subject's logits prefer it by 400 floors");
}

#[test]
fn another_token_than_the_subjects_own_logits_choose() {
    assert_snapshot!(complaint(&[2, 5, 2, 2], &[2, 2, 2, 2], -400.0), @"DANGER: row 0, step 1: token 5 where the reference has token 2; the subject's own logits prefer the other by 400 floors");
}

#[test]
fn a_tie_may_be_broken_otherwise() {
    assert_snapshot!(complaint(&[5, 0, 0, 0], &[2, 2, 2, 2], 9.9), @"INFO: the same tokens as the reference, up to a tie within rounding");
    assert_snapshot!(complaint(&[5, 0, 0, 0], &[2, 2, 2, 2], -9.9), @"INFO: the same tokens as the reference, up to a tie within rounding");
    assert_snapshot!(complaint(&[5, 0, 0, 0], &[2, 2, 2, 2], 10.1), @"DANGER: row 0, step 0: token 5 where the reference has token 2; the subject's logits prefer it by 10.10 floors");
}

#[test]
fn a_sequence_that_ends_early() {
    assert_snapshot!(complaint(&[2, 2], &[2, 2, 2, 2], 0.0), @"DANGER: row 0, step 2: the end where the reference has token 2");
    assert_snapshot!(complaint(&[2, 2, 2, 2], &[2, 2], 0.0), @"DANGER: row 0, step 2: token 2 where the reference has the end");
}

#[test]
fn a_token_that_is_none() {
    assert_snapshot!(complaint(&[10, 2], &[2, 2], 0.0), @"DANGER: row 0, step 0: token 10 where the reference has token 2");
    assert_snapshot!(complaint(&[-1, 2], &[2, 2], 0.0), @"DANGER: row 0, step 0: token -1 where the reference has token 2");
}

#[test]
fn logits_that_are_nan_are_no_tie() {
    assert_snapshot!(complaint(&[5, 2], &[2, 2], f64::NAN), @"DANGER: row 0, step 0: token 5 where the reference has token 2; the subject's logits are NaN or all 0");
}

#[test]
fn one_clear_row_beside_a_tie_is_a_failure() {
    let answers = [tokens(&[&[2, 2], &[2, 2]]), tokens(&[&[5, 2], &[2, 3]])];
    let verdict = judge(
        &Generation,
        &model(),
        "generation_padded",
        &answers,
        |planned| {
            // Token 5 ties with token 2, and token 3 does not.
            logits(
                planned.request.shape(),
                |_, token| if token == 5 { -1.0 } else { 0.0 },
            )
        },
    );
    assert_snapshot!(line(&verdict.unwrap()), @"DANGER: row 1, step 1: token 3 where the reference has token 2; the subject's own logits prefer the other by 2.0e6 floors");
}

#[test]
fn two_ties() {
    let answers = [tokens(&[&[2, 2], &[2, 2]]), tokens(&[&[5, 2], &[2, 5]])];
    let verdict = judge(
        &Generation,
        &model(),
        "generation_padded",
        &answers,
        |planned| {
            logits(
                planned.request.shape(),
                |_, token| if token == 5 { -1.0 } else { 0.0 },
            )
        },
    );
    assert_snapshot!(line(&verdict.unwrap()), @"INFO: the same tokens as the reference, up to 2 ties within rounding");
}

#[test]
fn without_a_floor_roundoff_decides() {
    let mut model = model();
    model.stimuli.remove(0);
    // Eight roundoffs of f32 at an RMS of 2.8 are 1.3e-6.
    for (apart, expected) in [(1.2e-5, "INFO"), (1.5e-5, "DANGER")] {
        let answers = [tokens(&[&[2, 2]]), tokens(&[&[5, 2]])];
        let verdict = judge(&Generation, &model, "generation", &answers, |planned| {
            let mut trace = logits(planned.request.shape(), |_, token| {
                if token == 5 { apart - 1.0 } else { 0.0 }
            });
            trace.floors.clear();
            trace
        });
        assert!(line(&verdict.unwrap()).starts_with(expected), "{apart}");
    }
}

#[test]
fn the_subject_is_asked_for_logits_on_the_references_sequence() {
    let model = model();
    let check = check(&Generation, &model, "generation_padded");
    let answers = [
        tokens(&[&[5, 6], &[7, 8]]),
        tokens(&[&[5, 6], &[7, 0]]),
        Trace::default(),
    ];
    let Judgement::More(asked) = Generation.judge(&model, &check, &answers).unwrap() else {
        panic!("a verdict without logits")
    };
    let input = |name: &str| {
        asked[0].request.inputs[name]
            .as_slice::<i64>()
            .unwrap()
            .to_vec()
    };
    assert_eq!(input(INPUT_IDS), [1, 2, 3, 5, 6, 0, 0, 4, 7, 8]);
    assert_eq!(input(ATTENTION_MASK), [1, 1, 1, 1, 1, 0, 0, 1, 1, 1]);
    assert_eq!(input(POSITION_IDS), [0, 1, 2, 3, 4, 0, 0, 0, 1, 2]);
}

#[test]
fn rows_that_are_missing_are_an_error() {
    let answers = [tokens(&[&[2, 2], &[2, 2]]), tokens(&[&[2, 2]])];
    let error = judge(
        &Generation,
        &model(),
        "generation_padded",
        &answers,
        |planned| logits(planned.request.shape(), |_, _| 0.0),
    );
    assert_snapshot!(error.unwrap_err().message, @"1 rows of tokens, expected 2");
}

#[test]
fn tokens_that_are_no_integers_are_an_error() {
    let mut found = tokens(&[&[2, 2]]);
    let floats = Tensor::from_vec(vec![2.0_f32, 2.0], &[1, 2]).unwrap();
    found.values.insert(Quantity::Generated, floats);
    let answers = [tokens(&[&[2, 2]]), found];
    let error = judge(&Generation, &model(), "generation", &answers, |planned| {
        logits(planned.request.shape(), |_, _| 0.0)
    });
    assert_snapshot!(error.unwrap_err().message, @"generated tokens: f32 [1, 2], expected i64 [batch, new]");
}

#[test]
fn no_token_at_all_is_no_pass() {
    let answers = [tokens(&[&[]]), tokens(&[&[]])];
    let error = judge(&Generation, &model(), "generation", &answers, |planned| {
        logits(planned.request.shape(), |_, _| 0.0)
    })
    .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_snapshot!(error.message, @"no token was generated");
    assert_snapshot!(complaint(&[], &[2, 2], 0.0), @"DANGER: row 0, step 0: the end where the reference has token 2");
}

#[test]
fn a_narrow_precision_is_held_to_its_own_roundoff() {
    let mut model = model();
    model.stimuli.remove(0);
    model.dtype = DType::BF16;
    // Two and a half roundoffs of bf16 at an RMS of 2.8 are 0.027.
    for (apart, expected) in [(0.25, "INFO"), (0.31, "DANGER")] {
        let answers = [tokens(&[&[2, 2]]), tokens(&[&[5, 2]])];
        let verdict = judge(&Generation, &model, "generation", &answers, |planned| {
            logits(planned.request.shape(), |_, token| {
                if token == 5 { apart - 1.0 } else { 0.0 }
            })
        });
        assert!(line(&verdict.unwrap()).starts_with(expected), "{apart}");
    }
}

#[test]
fn tokens_that_were_left_out_are_an_error() {
    let answers = [tokens(&[&[2, 2]]), Trace::default()];
    let error = judge(&Generation, &model(), "generation", &answers, |planned| {
        logits(planned.request.shape(), |_, _| 0.0)
    });
    assert_snapshot!(error.unwrap_err().message, @"no generated tokens");
}

#[test]
fn a_prompt_as_long_as_the_context_generates_nothing_to_compare() {
    let mut model = model();
    model.stimuli = vec![generating("generation", &[vec![1, 2, 3]], 0)];
    let error = Generation.plan(&model).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_snapshot!(error.message, @"the reference shows generated tokens on no input");
}
