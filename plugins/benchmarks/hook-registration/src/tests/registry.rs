//! Which hooks there are, in which shape and order.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, Quantity, Tensor, Trace, check_plan};

use super::model::{D_MODEL, POS, edit, judge, line, model};
use crate::registry::HookRegistry;

fn shapes(fault: impl Fn(&mut Trace)) -> String {
    line(judge(&HookRegistry, &model(), "shapes", |_, trace| {
        fault(trace)
    }))
}

fn order(fault: impl Fn(&mut Trace)) -> String {
    line(judge(&HookRegistry, &model(), "order.edits", |_, trace| {
        fault(trace)
    }))
}

#[test]
fn the_plan() {
    let checks = HookRegistry.plan(&model()).unwrap();
    check_plan(&checks).unwrap();
    let variants: Vec<&str> = checks.iter().map(|check| check.variant.as_str()).collect();
    assert_eq!(variants, ["shapes", "order.edits"]);
}

#[test]
fn all_hooks_fire() {
    assert_snapshot!(shapes(|_| {}), @"INFO: all 28 hooks fire in their shapes; the reference's 22 are among them");
}

#[test]
fn a_hook_that_does_not_fire() {
    assert_snapshot!(shapes(|trace| {
        trace.values.remove(&Quantity::hook("blocks.0.attn.hook_z"));
    }), @"DANGER: blocks.0.attn.hook_z does not fire");
}

#[test]
fn a_gated_hook_that_does_not_fire() {
    assert_snapshot!(shapes(|trace| {
        trace.values.remove(&Quantity::hook("blocks.0.attn.hook_result"));
        trace.values.remove(&Quantity::hook("blocks.0.hook_mlp_in"));
    }), @"DANGER: blocks.0.attn.hook_result does not fire (and 1 more)");
}

#[test]
fn a_hook_in_another_shape() {
    assert_snapshot!(shapes(|trace| {
        if let Some(value) = trace.values.get_mut(&Quantity::hook("blocks.0.attn.hook_q")) {
            *value = value.reshaped(&[1, POS, 8]).unwrap();
        }
    }), @"DANGER: blocks.0.attn.hook_q is [1, 5, 8] where [batch, pos, n_heads=2, d_head=4] is [1, 5, 2, 4]");
}

#[test]
fn a_hook_that_only_the_reference_has() {
    let mut model = model();
    model
        .hooks
        .retain(|hook| hook.name != "ln_final.hook_scale");
    assert_snapshot!(line(judge(&HookRegistry, &model, "shapes", |_, _| {})), @"DANGER: ln_final.hook_scale of the reference is missing");
}

#[test]
fn a_reference_that_shows_no_hook() {
    let mut model = model();
    model.stimuli[0].request.capture = vec![Quantity::Logits];
    assert_snapshot!(line(judge(&HookRegistry, &model, "shapes", |_, _| {})), @"INFO: all 28 hooks fire in their shapes");
}

#[test]
fn nothing_leaks_backward() {
    assert_snapshot!(order(|_| {}), @"INFO: 3 edits change nothing that fires before them (9 values)");
}

#[test]
fn an_edit_that_leaks_to_what_is_before_it() {
    // Row 3 is edited at hook_mlp_out.
    assert_snapshot!(order(|trace| {
        edit(trace, &Quantity::hook("blocks.0.attn.hook_z"), |index, value| {
            let is_edited = index >= 3 * POS * 8;
            if is_edited { value * 1.01 } else { value }
        });
    }), @"DANGER: an edit at blocks.0.hook_mlp_out changes blocks.0.attn.hook_z before it");
}

#[test]
fn rounding_is_no_leak() {
    assert_snapshot!(order(|trace| {
        edit(trace, &Quantity::hook("hook_embed"), |index, value| {
            if index >= POS * D_MODEL { value * (1.0 + 1e-6) } else { value }
        });
    }), @"INFO: 3 edits change nothing that fires before them (9 values)");
}

#[test]
fn nan_before_an_edit_is_a_leak() {
    assert_snapshot!(order(|trace| {
        edit(trace, &Quantity::hook("hook_embed"), |index, value| {
            if index == POS * D_MODEL { f64::NAN } else { value }
        });
    }), @"DANGER: an edit at blocks.0.hook_resid_pre changes hook_embed before it");
}

#[test]
fn what_is_before_an_edit_and_is_missing() {
    assert_snapshot!(order(|trace| {
        trace.values.remove(&Quantity::hook("hook_embed"));
    }), @"DANGER: hook_embed does not fire (and 2 more)");
    assert_snapshot!(order(|trace| {
        let one = Tensor::from_vec(vec![0_f32; POS * D_MODEL], &[1, POS, D_MODEL]).unwrap();
        trace.values.insert(Quantity::hook("hook_embed"), one);
    }), @"DANGER: an edit at blocks.0.hook_resid_pre changes hook_embed before it (and 2 more)");
}

#[test]
fn an_edit_with_nothing_before_it_says_nothing_about_order() {
    let mut model = model();
    let edits = &mut model.stimuli[1].request.interventions;
    edits.truncate(1);
    edits[0].target = tlbench_sdk::Target::Hook("hook_embed".into());
    assert_eq!(HookRegistry.plan(&model).unwrap().len(), 1);
}

#[test]
fn without_a_plain_run_there_is_nothing_to_ask() {
    let mut model = model();
    model.stimuli.remove(0);
    assert_snapshot!(HookRegistry.plan(&model).unwrap_err().message, @"there is no plain run among the inputs");
}
