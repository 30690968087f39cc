//! What fires by the account of who computes.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, FiredHook, Firings, ModelInfo, Role, check_plan};

use super::model::{POS, judge, line, model};
use crate::registry::HookRegistry;

/// What the reference tells, if `edit` is made to what the spec says.
fn told(edit: impl FnOnce(&mut Vec<FiredHook>)) -> String {
    let mut model = model();
    let fired = model.hooks.iter().map(|hook| FiredHook {
        name: hook.name.clone(),
        shape: hook.sizes(1, POS),
        times: 1,
    });
    let mut pass = fired.collect();
    edit(&mut pass);
    tells(&mut model, Role::Reference, vec![pass]);
    line(judge(&HookRegistry, &model, "firing.reference", |_, _| {}))
}

fn tells(model: &mut ModelInfo, role: Role, passes: Vec<Vec<FiredHook>>) {
    let input = [1, POS];
    model.firings.insert(role, Firings { input, passes });
}

fn named<'a>(pass: &'a mut [FiredHook], name: &str) -> &'a mut FiredHook {
    pass.iter_mut().find(|one| one.name == name).unwrap()
}

#[test]
fn who_tells_is_checked() {
    let mut model = model();
    tells(&mut model, Role::Subject, vec![]);
    tells(&mut model, Role::Reference, vec![]);
    let checks = HookRegistry.plan(&model).unwrap();
    check_plan(&checks).unwrap();
    let variants: Vec<&str> = checks.iter().map(|check| check.variant.as_str()).collect();
    assert_eq!(
        variants,
        [
            "shapes",
            "order.edits",
            "firing.subject",
            "firing.reference"
        ]
    );
}

#[test]
fn the_same_hooks_once_each() {
    assert_snapshot!(told(|_| {}), @"INFO: 28 hooks fire under these names, in this order and in these shapes, once each");
}

#[test]
fn a_hook_that_fires_more_than_once_is_noteworthy() {
    assert_snapshot!(told(|pass| named(pass, "blocks.0.ln1.hook_scale").times = 3), @"WARNING: 28 hooks fire under these names, in this order and in these shapes; more than once: blocks.0.ln1.hook_scale 3 times");
}

#[test]
fn a_hook_in_another_place() {
    assert_snapshot!(told(|pass| {
        let first = pass.remove(0);
        pass.insert(2, first);
    }), @"DANGER: hook_embed fires after blocks.0.hook_attn_in");
}

#[test]
fn a_hook_of_another_name() {
    assert_snapshot!(told(|pass| named(pass, "hook_embed").name = "hook_tokens".into()), @"DANGER: hook_embed never fires (and 1 more)");
}

#[test]
fn a_hook_of_another_shape() {
    assert_snapshot!(told(|pass| named(pass, "blocks.0.attn.hook_q").shape = vec![1, POS, 8]), @"DANGER: blocks.0.attn.hook_q is [1, 5, 8] where [batch, pos, n_heads=2, d_head=4] is [1, 5, 2, 4]");
}

/// What is behind flags that exclude each other fires in different passes.
#[test]
fn several_passes_make_up_one_order() {
    let mut model = model();
    let pass = |gated: bool| -> Vec<FiredHook> {
        let hooks = model.hooks.iter();
        let fired = hooks.filter(|hook| gated || hook.gate.is_none());
        let fired = fired.map(|hook| FiredHook {
            name: hook.name.clone(),
            shape: hook.sizes(1, POS),
            times: 1,
        });
        fired.collect()
    };
    let passes = vec![pass(false), pass(true)];
    tells(&mut model, Role::Subject, passes);
    assert_snapshot!(line(judge(&HookRegistry, &model, "firing.subject", |_, _| {})), @"INFO: 28 hooks fire under these names, in this order and in these shapes, once each");
}
