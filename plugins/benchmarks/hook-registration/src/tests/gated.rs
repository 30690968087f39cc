//! Hooks that fire on demand, and what they have to be.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, Gate, Quantity, Tier, Trace};

use super::model::{HEADS, POS, edit, judge, line, model};
use crate::gated::GatedHooksFire;

fn complaint(fault: impl Fn(&mut Trace)) -> String {
    line(judge(&GatedHooksFire, &model(), "all", |_, trace| {
        fault(trace)
    }))
}

fn off(hook: &'static str, edited: impl Fn(usize, f64) -> f64) -> String {
    complaint(|trace| edit(trace, &Quantity::hook(hook), &edited))
}

#[test]
fn healthy_gated_hooks() {
    assert_snapshot!(complaint(|_| {}), @"INFO: all 6 gated hooks fire; 6 are the copies and sums that they have to be");
}

#[test]
fn a_copy_that_is_none() {
    assert_snapshot!(off("blocks.0.hook_q_input", |index, value| if index == 9 { value * 1.001 } else { value }), @"DANGER: blocks.0.hook_q_input: it is no copy of blocks.0.hook_resid_pre (54.01 times what rounding explains)");
    assert_snapshot!(off("blocks.0.hook_mlp_in", |_, value| value * (1.0 + 1.2e-7)), @"DANGER: blocks.0.hook_mlp_in: it is no copy of blocks.0.hook_resid_mid");
}

/// Flags that exclude each other take passes of their own, and these sum in another order.
#[test]
fn an_input_of_attention_that_only_rounds_otherwise_is_a_copy() {
    assert_snapshot!(off("blocks.0.hook_q_input", |_, value| value * (1.0 + 1.2e-7)), @"INFO: all 6 gated hooks fire; 6 are the copies and sums that they have to be");
    assert_snapshot!(off("blocks.0.hook_attn_in", |_, value| value * (1.0 + 1e-5)), @"DANGER: blocks.0.hook_attn_in: it is no copy of blocks.0.hook_resid_pre (21.00 times what rounding explains)");
    assert_snapshot!(off("blocks.0.hook_attn_in", |_, _| f64::NAN), @"DANGER: blocks.0.hook_attn_in: it is no copy of blocks.0.hook_resid_pre (one is NaN or infinite)");
}

#[test]
fn an_input_of_attention_without_its_heads_is_none() {
    assert_snapshot!(complaint(|trace| {
        if let Some(value) = trace.values.get_mut(&Quantity::hook("blocks.0.hook_v_input")) {
            *value = value.row(0).unwrap();
            edit(trace, &Quantity::hook("blocks.0.hook_v_input"), |_, value| value + 1.0);
        }
    }), @"DANGER: blocks.0.hook_v_input: it is no copy of blocks.0.hook_resid_pre (2.2e6 times what rounding explains)");
}

#[test]
fn a_copy_of_nan_is_one() {
    assert_snapshot!(complaint(|trace| {
        edit(trace, &Quantity::hook("blocks.0.hook_resid_mid"), |_, _| f64::NAN);
        edit(trace, &Quantity::hook("blocks.0.hook_mlp_in"), |_, _| f64::NAN);
    }), @"INFO: all 6 gated hooks fire; 6 are the copies and sums that they have to be");
}

#[test]
fn a_result_that_does_not_sum() {
    assert_snapshot!(off("blocks.0.attn.hook_result", |index, value| if index == 0 { value + 0.01 } else { value }), @"DANGER: blocks.0.attn.hook_result: its sum over heads and the bias is not blocks.0.hook_attn_out (738 times what rounding explains)");
}

#[test]
fn a_result_of_nan() {
    assert_snapshot!(off("blocks.0.attn.hook_result", |index, value| if index == 0 { f64::NAN } else { value }), @"DANGER: blocks.0.attn.hook_result: its sum over heads and the bias is not blocks.0.hook_attn_out (one is NaN or infinite)");
}

#[test]
fn a_result_without_its_heads() {
    assert_snapshot!(complaint(|trace| {
        if let Some(value) = trace.values.get_mut(&Quantity::hook("blocks.0.attn.hook_result")) {
            *value = value.reshaped(&[1, POS, HEADS * 6]).unwrap();
        }
    }), @"DANGER: blocks.0.attn.hook_result: its sum over heads and the bias is not blocks.0.hook_attn_out (it is [1, 5, 12])");
}

#[test]
fn a_bias_that_is_left_out() {
    assert_snapshot!(complaint(|trace| {
        trace.values.remove(&Quantity::Weight("blocks.0.attn.b_O".into()));
    }), @"DANGER: blocks.0.attn.hook_result: its sum over heads and the bias is not blocks.0.hook_attn_out (5.7e5 times what rounding explains)");
}

#[test]
fn a_hook_that_does_not_fire() {
    assert_snapshot!(complaint(|trace| {
        trace.values.remove(&Quantity::hook("blocks.0.hook_v_input"));
    }), @"DANGER: blocks.0.hook_v_input: it does not fire");
}

#[test]
fn what_it_copies_does_not_fire() {
    assert_snapshot!(complaint(|trace| {
        trace.values.remove(&Quantity::hook("blocks.0.hook_resid_pre"));
    }), @"DANGER: blocks.0.hook_attn_in: blocks.0.hook_resid_pre does not fire");
}

#[test]
fn a_reference_that_shows_them_is_compared() {
    let mut model = model();
    model.tier = Tier::HookedTransformer;
    assert_snapshot!(line(judge(&GatedHooksFire, &model, "all", |_, _| {})), @"INFO: 6 gated hooks match; worst error ratio: cumulative 0.00 (blocks.0.hook_mlp_in)");
    // Both the copies and what they are of are off.
    let fault = |question: usize, trace: &mut Trace| {
        if question == 0 {
            for hook in ["blocks.0.hook_resid_mid", "blocks.0.hook_mlp_in"] {
                edit(trace, &Quantity::hook(hook), |_, value| value + 1e-3);
            }
        }
    };
    assert_snapshot!(line(judge(&GatedHooksFire, &model, "all", fault)), @"DANGER: first divergence at blocks.0.hook_mlp_in: cumulative error ratio 1000");
}

#[test]
fn an_architecture_without_any() {
    let mut model = model();
    model.hooks.retain(|hook| hook.gate.is_none());
    assert_snapshot!(GatedHooksFire.plan(&model).unwrap_err().message, @"the architecture has no gated hook");
}

#[test]
fn a_factor_on_the_branch_leaves_the_sum_open() {
    let mut model = model();
    model.spec.layers[0].attn.as_mut().unwrap().output_scale = 2.0;
    let gated = model
        .hooks
        .iter()
        .filter(|hook| hook.gate == Some(Gate::AttnResult));
    assert_eq!(gated.count(), 1);
    assert_snapshot!(line(judge(&GatedHooksFire, &model, "all", |_, _| {})), @"INFO: all 6 gated hooks fire; 5 are the copies and sums that they have to be");
}
