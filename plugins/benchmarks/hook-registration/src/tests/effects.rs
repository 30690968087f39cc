//! What edits do to the loss.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, ErrorKind, Quantity, Tensor, Trace, Verdict};

use super::model::{FLOOR, POS, edit, judge, line, model};
use crate::functionality::HookFunctionality;

const PAIRS: usize = POS - 1;

/// The verdict after `fault` was made in the subject's losses, by row.
fn verdict(fault: impl Fn(usize, f64) -> f64) -> Verdict {
    let losses = Quantity::LossPerToken;
    judge(&HookFunctionality, &model(), "edits", |question, trace| {
        if question == 1 {
            edit(trace, &losses, |index, loss| fault(index / PAIRS, loss));
        }
    })
    .unwrap()
}

/// The same of both sides: row `r` moves by so many floors.
fn moved_in_both(floors: f64) -> String {
    line(judge(&HookFunctionality, &model(), "edits", |_, trace| {
        edit(trace, &Quantity::LossPerToken, |index, _| {
            1.0 + (index / PAIRS) as f64 * floors * FLOOR
        });
    }))
}

fn details(verdict: &Verdict) -> String {
    let details = verdict.details.iter();
    let lines = details.map(|detail| format!("{}: {}", detail.name, detail.value));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn edits_with_the_references_effect() {
    assert_snapshot!(line(Ok(verdict(|_, loss| loss))), @"INFO: 3 edits change the loss as in the reference; worst error ratio 0.00");
}

#[test]
fn a_decorative_hook() {
    // The second edit leaves the loss where it is.
    let verdict = verdict(|row, loss| if row == 2 { loss - 0.2 } else { loss });
    assert_snapshot!(line(Ok(verdict.clone())), @"DANGER: blocks.0.attn.hook_z: an edit there changes nothing, and changes the loss in the reference");
    let first = verdict.first_divergence.unwrap();
    assert_eq!(first.quantity, Quantity::hook("blocks.0.attn.hook_z"));
}

#[test]
fn an_edit_with_another_effect() {
    let verdict = verdict(|row, loss| if row > 1 { loss * 1.5 } else { loss });
    assert_snapshot!(line(Ok(verdict.clone())), @"DANGER: blocks.0.attn.hook_z: an edit there has another effect on the loss: error ratio 3.1e5");
    assert_snapshot!(details(&verdict), @"
    edits that move the loss: 3
    also: blocks.0.hook_mlp_out: an edit there has another effect on the loss: error ratio 3.6e5
    ");
}

#[test]
fn a_loss_that_is_nan() {
    let nan = |row, loss| if row == 3 { f64::NAN } else { loss };
    assert_snapshot!(line(Ok(verdict(nan))), @"DANGER: blocks.0.hook_mlp_out: an edit there has another effect on the loss: error ratio infinite");
}

#[test]
fn a_loss_of_another_shape() {
    let verdict = judge(
        &HookFunctionality,
        &model(),
        "edits",
        |question, trace: &mut Trace| {
            if question == 1 {
                let short = Tensor::from_vec(vec![0_f32; 8], &[4, 2]).unwrap();
                trace.values.insert(Quantity::LossPerToken, short);
            }
        },
    );
    assert_snapshot!(line(verdict), @"DANGER: blocks.0.hook_resid_pre: shape [1, 2] where the truth has [1, 4]");
}

#[test]
fn a_loss_that_the_subject_leaves_out() {
    let verdict = judge(&HookFunctionality, &model(), "edits", |question, trace| {
        if question == 1 {
            trace.values.clear();
        }
    });
    assert_snapshot!(line(verdict), @"ERROR: the subject left out loss_per_token");
}

#[test]
fn edits_that_nobody_sees_are_worth_a_word() {
    assert_snapshot!(moved_in_both(5.0), @"WARNING: none of 3 edits moves the loss by more than rounding");
    assert_snapshot!(moved_in_both(15.0), @"INFO: 3 edits change the loss as in the reference; worst error ratio 0.00");
}

#[test]
fn one_token_has_no_loss_to_change() {
    let mut model = model();
    let single = tlbench_sdk::Stimulus::from_rows(
        "edits",
        &[vec![1], vec![1]],
        tlbench_sdk::Padding::Right,
        0,
    );
    model.stimuli[1].request.inputs = single.unwrap().request.inputs;
    let error = HookFunctionality.plan(&model).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_snapshot!(error.message, @"the reference shows what edits do on no input");
}

#[test]
fn edits_that_share_a_row_cannot_be_told_apart() {
    let mut model = model();
    model.stimuli[1].request.interventions[0].rows = None;
    assert!(HookFunctionality.plan(&model).is_err());
}
