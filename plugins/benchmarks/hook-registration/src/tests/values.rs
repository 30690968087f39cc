//! The values at hooks.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, Quantity};

use super::model::{FLOOR, check, edit, judge, line, model};
use crate::forward_hooks::{CriticalForwardHooks, ForwardHooks};

#[test]
fn values_as_in_the_reference() {
    assert_snapshot!(line(judge(&ForwardHooks, &model(), "text", |_, _| {})), @"INFO: 22 hooks match; worst error ratio: cumulative 0.00 (unembed.hook_out), local 0.00 (unembed.hook_out)");
    assert_snapshot!(line(judge(&CriticalForwardHooks, &model(), "text", |_, _| {})), @"INFO: 13 hooks match; worst error ratio: cumulative 0.00 (ln_final.hook_normalized), local 0.00 (ln_final.hook_normalized)");
}

#[test]
fn a_component_that_is_wrong_by_itself_is_the_headline() {
    let verdict = judge(&ForwardHooks, &model(), "text", |question, trace| {
        // The reference's truth is question 0, the local run question 2.
        let wrong: &[&str] = match question {
            1 => &[
                "blocks.0.attn.hook_q",
                "blocks.0.attn.hook_z",
                "blocks.0.mlp.hook_post",
            ],
            2 => &["blocks.0.attn.hook_z"],
            _ => &[],
        };
        for hook in wrong {
            edit(trace, &Quantity::hook(*hook), |_, value| {
                value + 50.0 * FLOOR
            });
        }
    });
    assert_snapshot!(line(verdict), @"DANGER: first divergence at blocks.0.attn.hook_z: local error ratio 49.98");
}

#[test]
fn critical_ones_are_judged_in_a_local_run_that_sets_every_hook_to_the_truth() {
    let critical = check(&CriticalForwardHooks, &model(), "text");
    let all = check(&ForwardHooks, &model(), "text");
    assert_eq!(critical.requests, all.requests);
}

#[test]
fn an_input_without_critical_hooks_is_no_check() {
    let mut model = model();
    model.stimuli[0].request.capture = vec![Quantity::hook("ln_final.hook_scale")];
    assert_snapshot!(CriticalForwardHooks.plan(&model).unwrap_err().message, @"the reference shows any of these hooks on no input");
    assert_eq!(ForwardHooks.plan(&model).unwrap().len(), 1);
}
