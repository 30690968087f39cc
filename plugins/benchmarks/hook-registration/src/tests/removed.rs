//! Hooks end with their run.

use insta::assert_snapshot;
use tlbench_sdk::{Quantity, Trace};

use super::model::{edit, judge, line, model};
use crate::removed::HooksRemoved;

/// What is said of an edited run, question 1, that moves the logits, and of a fault in each answer.
fn complaint(fault: impl Fn(usize, &mut Trace)) -> String {
    line(judge(
        &HooksRemoved,
        &model(),
        "edits_at_all_hooks",
        |question, trace| {
            if question == 1 {
                edit(trace, &Quantity::Logits, |_, value| value + 1.0);
            }
            fault(question, trace);
        },
    ))
}

#[test]
fn a_plain_run_is_what_it_was() {
    assert_snapshot!(complaint(|_, _| {}), @"INFO: 23 values are what they were, bit by bit");
}

#[test]
fn a_plain_run_that_changes_after_an_edited_one() {
    assert_snapshot!(complaint(|question, trace| {
        if question == 2 {
            edit(trace, &Quantity::hook("blocks.0.hook_mlp_out"), |_, value| value * (1.0 + 1.2e-7));
        }
    }), @"DANGER: blocks.0.hook_mlp_out is another one after an edited run");
    assert_snapshot!(complaint(|question, trace| {
        if question == 2 {
            edit(trace, &Quantity::hook("blocks.0.hook_mlp_out"), |_, value| value + 1.0);
            edit(trace, &Quantity::Logits, |_, value| value + 1.0);
        }
    }), @"DANGER: logits is another one after an edited run (and 1 more)");
}

#[test]
fn a_value_that_is_gone_after_an_edited_run() {
    assert_snapshot!(complaint(|question, trace| {
        if question == 2 {
            trace.values.remove(&Quantity::hook("hook_embed"));
        }
    }), @"DANGER: hook_embed is another one after an edited run");
}

#[test]
fn edits_that_change_nothing() {
    assert_snapshot!(complaint(|question, trace| {
        if question == 1 {
            edit(trace, &Quantity::Logits, |_, value| value - 1.0);
        }
        // Rounding of the sum is no change that an edit made.
        edit(trace, &Quantity::Logits, |_, _| 2.0);
    }), @"DANGER: edits at every hook change nothing");
}

#[test]
fn logits_that_are_left_out_are_an_error() {
    assert_snapshot!(complaint(|_, trace| {
        trace.values.remove(&Quantity::Logits);
    }), @"ERROR: the subject left out logits");
}
