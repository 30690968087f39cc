//! One model for each way to be wrong, and what is said of it.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, Padding, Trace};

use super::model::{Fault, answers, judge, judged, line, model, plain};
use crate::causality::{Causality, Prefix};
use crate::determinism::Determinism;
use crate::loss::LossIdentity;
use crate::mask::AbsentMask;
use crate::rows::{BatchRows, PaddingChangesNothing};

pub(super) const ALL: [&dyn Benchmark; 7] = [
    &Causality,
    &Prefix,
    &BatchRows,
    &PaddingChangesNothing,
    &AbsentMask,
    &Determinism,
    &LossIdentity,
];

/// What all benchmarks say of a model.
fn lines(fault: Fault) -> Vec<String> {
    let model = model();
    let mut lines = Vec::new();
    for benchmark in ALL {
        for check in benchmark.plan(&model).unwrap() {
            let line = line(judge(benchmark, &model, &check, fault));
            lines.push(format!("{}/{} {line}", benchmark.info().id, check.variant));
        }
    }
    lines
}

/// The same without those that pass.
fn complaints(fault: Fault) -> String {
    let mut lines = lines(fault);
    lines.retain(|line| !line.contains(" INFO: "));
    lines.join("\n")
}

#[test]
fn a_model_that_keeps_all() {
    assert_snapshot!(lines(Fault::None).join("\n"), @"
    causality/text INFO: 3 stretches before other tokens match; worst error ratio: cumulative 0.00 (logits)
    prefix/text INFO: 3 prefixes match; worst error ratio: cumulative 0.00 (logits)
    batch_rows/text INFO: 2 rows of a batch match; worst error ratio: cumulative 0.00 (logits)
    padding/left_padded INFO: 2 padded rows match; worst error ratio: cumulative 0.00 (logits)
    padding/right_padded INFO: 2 padded rows match; worst error ratio: cumulative 0.00 (logits)
    absent_mask/text INFO: rows without a mask match; worst error ratio: cumulative 0.00 (logits)
    determinism/text INFO: 2 values have the same bits twice
    determinism/left_padded INFO: 2 values have the same bits twice
    determinism/right_padded INFO: 2 values have the same bits twice
    loss_identity/text INFO: losses match; worst error ratio: cumulative 0.00 (loss_per_token)
    loss_identity/left_padded INFO: losses match; worst error ratio: cumulative 0.00 (loss_per_token)
    loss_identity/right_padded INFO: losses match; worst error ratio: cumulative 0.00 (loss_per_token)
    ");
}

#[test]
fn rounding_in_another_order_is_allowed_for() {
    let mut lines = lines(Fault::RoundsByLength);
    lines.retain(|line| !line.contains("cumulative 0.00"));
    assert_snapshot!(lines.join("\n"), @"
    prefix/text INFO: 3 prefixes match; worst error ratio: cumulative 1.00 (logits)
    determinism/text INFO: 2 values have the same bits twice
    determinism/left_padded INFO: 2 values have the same bits twice
    determinism/right_padded INFO: 2 values have the same bits twice
    ");
}

#[test]
fn tokens_that_see_what_comes_later() {
    assert_snapshot!(complaints(Fault::SeesAhead), @"
    causality/text DANGER: other tokens from position 1 on change logits before it: cumulative error ratio 1.1e5
    prefix/text DANGER: the first token gives other logits alone than before others: cumulative error ratio 5.3e5
    padding/right_padded DANGER: row 0 gives other logits with padding than without: cumulative error ratio 6.3e5
    ");
}

#[test]
fn a_prefix_that_depends_on_what_is_behind_it() {
    assert_snapshot!(complaints(Fault::KnowsTheLength), @"
    prefix/text DANGER: the first token gives other logits alone than before others: cumulative error ratio 5.3e6
    padding/left_padded DANGER: row 1 gives other logits with padding than without: cumulative error ratio 2.1e6
    padding/right_padded DANGER: row 0 gives other logits with padding than without: cumulative error ratio 2.1e6
    ");
}

#[test]
fn rows_that_see_the_first_one() {
    assert_snapshot!(complaints(Fault::SeesTheFirstRow), @"
    batch_rows/text DANGER: as row 1 of a batch of 2, the input gives other logits than alone: cumulative error ratio 1.1e5
    padding/left_padded DANGER: row 1 gives other logits with padding than without: cumulative error ratio 3.2e5
    padding/right_padded DANGER: row 1 gives other logits with padding than without: cumulative error ratio 1.1e5
    ");
}

#[test]
fn rows_that_see_the_last_one() {
    assert_snapshot!(complaints(Fault::SeesTheLastRow), @"
    batch_rows/text DANGER: as row 0 of a batch of 2, the input gives other logits than alone: cumulative error ratio 1.1e5
    padding/left_padded DANGER: row 0 gives other logits with padding than without: cumulative error ratio 2.1e5
    padding/right_padded DANGER: row 0 gives other logits with padding than without: cumulative error ratio 1.1e5
    ");
}

#[test]
fn padding_that_is_seen() {
    assert_snapshot!(complaints(Fault::SeesPadding), @"padding/left_padded DANGER: row 1 gives other logits with padding than without: cumulative error ratio 2.1e5");
}

#[test]
fn a_mask_that_is_needed() {
    assert_snapshot!(complaints(Fault::NeedsTheMask), @"absent_mask/text DANGER: row 0 gives other logits without a mask than with one of ones: cumulative error ratio 1.6e6");
}

#[test]
fn another_answer_the_second_time() {
    assert_snapshot!(complaints(Fault::Forgets), @"
    determinism/text DANGER: other bits the second time: logits
    determinism/left_padded DANGER: other bits the second time: logits
    determinism/right_padded DANGER: other bits the second time: logits
    ");
}

#[test]
fn a_loss_of_something_else() {
    assert_snapshot!(complaints(Fault::LossOfTheSameToken), @"
    loss_identity/text DANGER: the losses are not those that follow from the logits: cumulative error ratio 1.9e6
    loss_identity/left_padded DANGER: the losses are not those that follow from the logits: cumulative error ratio 6.6e5
    loss_identity/right_padded DANGER: the losses are not those that follow from the logits: cumulative error ratio 2.0e6
    ");
}

#[test]
fn logits_of_nan() {
    assert_snapshot!(complaints(Fault::EndsInNan), @"
    prefix/text DANGER: the first token gives other logits alone than before others: 10 elements are infinite or NaN on one side only (cumulative)
    batch_rows/text DANGER: as row 0 of a batch of 2, the input gives other logits than alone: 10 elements are infinite or NaN on one side only (cumulative)
    padding/left_padded DANGER: row 0 gives other logits with padding than without: 10 elements are infinite or NaN on one side only (cumulative)
    padding/right_padded DANGER: row 0 gives other logits with padding than without: 10 elements are infinite or NaN on one side only (cumulative)
    absent_mask/text DANGER: row 0 gives other logits without a mask than with one of ones: 10 elements are infinite or NaN on one side only (cumulative)
    ");
}

#[test]
fn logits_of_fewer_positions() {
    assert_snapshot!(complaints(Fault::LosesTheLastPosition), @"
    prefix/text ERROR: logits [1, 0, 10] without positions 0 to 1 of row 0
    batch_rows/text ERROR: logits [2, 5, 10] without positions 0 to 6 of row 0
    padding/left_padded ERROR: logits [2, 2, 10] without positions 0 to 3 of row 0
    padding/right_padded ERROR: logits [1, 0, 10] without positions 0 to 1 of row 0
    absent_mask/text ERROR: logits [1, 5, 10] without positions 0 to 6 of row 0
    loss_identity/text ERROR: logits [1, 5, 10] for tokens [1, 6]: there is no loss of them
    loss_identity/left_padded ERROR: logits [2, 2, 10] for tokens [2, 3]: there is no loss of them
    loss_identity/right_padded ERROR: logits [2, 2, 10] for tokens [2, 3]: there is no loss of them
    ");
}

#[test]
fn logits_that_are_left_out() {
    assert_snapshot!(complaints(Fault::ShowsNothing), @"
    causality/text ERROR: the subject left out logits
    prefix/text ERROR: the subject left out logits
    batch_rows/text ERROR: the subject left out logits
    padding/left_padded ERROR: the subject left out logits
    padding/right_padded ERROR: the subject left out logits
    absent_mask/text ERROR: the subject left out logits
    determinism/text ERROR: the subject left out logits
    determinism/left_padded ERROR: the subject left out logits
    determinism/right_padded ERROR: the subject left out logits
    loss_identity/text ERROR: the subject left out logits
    loss_identity/left_padded ERROR: the subject left out logits
    loss_identity/right_padded ERROR: the subject left out logits
    ");
}

#[test]
fn the_details_are_those_of_the_first_that_differs() {
    let model = model();
    let check = &PaddingChangesNothing.plan(&model).unwrap()[0];
    let verdict = judge(&PaddingChangesNothing, &model, check, Fault::SeesPadding).unwrap();
    let details = verdict.details.iter();
    let details: Vec<String> = details
        .map(|detail| format!("{}: {}", detail.name, detail.value))
        .collect();
    assert_snapshot!(details.join("\n"), @"
    difference: rms 2.10e-1 (floor 1.00e-6, truth 5.25e-1), relative L2 4.00e-1, largest 2.96e-1 at [0, 0, 3]
    first position beyond the gate: 0
    differing: 1 of 2 padded rows
    ");
    assert_eq!(
        verdict.measurements.len(),
        2,
        "those that agree are measured as well"
    );
}

#[test]
fn rows_that_are_left_out_are_counted() {
    let mut model = model();
    model.stimuli = vec![plain(
        "batch",
        &[vec![1, 2], vec![], vec![3]],
        Padding::Left,
    )];
    let check = &PaddingChangesNothing.plan(&model).unwrap()[0];
    let verdict = judge(&PaddingChangesNothing, &model, check, Fault::None).unwrap();
    assert_eq!(verdict.details[0].name, "rows left out");
    assert_snapshot!(verdict.details[0].value, @"1: without a token, or with padding between tokens");
    assert_snapshot!(line(judge(&PaddingChangesNothing, &model, check, Fault::SeesPadding)), @"DANGER: row 2 gives other logits with padding than without: cumulative error ratio 1.1e5");
}

#[test]
fn of_several_values_that_change_the_first_asked_for_is_named() {
    let model = model();
    let check = &Determinism.plan(&model).unwrap()[0];
    let once = answers(check, Fault::None);
    let mut changed = once.clone();
    for value in changed[1].values.values_mut() {
        *value = value.reshaped(&[value.len()]).unwrap();
    }
    assert_snapshot!(line(judged(&Determinism, &model, check, &changed)), @"DANGER: other bits the second time: logits (and 1 more)");
    changed[1] = Trace::default();
    assert_snapshot!(line(judged(&Determinism, &model, check, &changed)), @"ERROR: the subject left out logits");
}

#[test]
fn answers_that_are_missing_are_errors() {
    let model = model();
    for benchmark in ALL {
        let check = &benchmark.plan(&model).unwrap()[0];
        let all = answers(check, Fault::None);
        for count in 0..all.len() {
            let error = benchmark.judge(&model, check, &all[..count]).unwrap_err();
            let id = benchmark.info().id;
            assert_eq!(error.message, format!("{count} answers to judge"), "{id}");
        }
        let more = [&all[..], &all[..1]].concat();
        benchmark.judge(&model, check, &more).unwrap_err();
    }
}
