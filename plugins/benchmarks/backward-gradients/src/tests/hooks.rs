//! The gradient at hooks.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, ErrorKind, HookPoint, Tensor, Tier, Trace, check_plan};

use super::model::{D_MODEL, FLOOR, POS, check, edit, gradient, judge, line, model};
use crate::hook_gradients::{BackwardHooks, CriticalBackwardHooks};

fn complaint(fault: impl Fn(&mut Trace)) -> String {
    line(&judge(&BackwardHooks, &model(), "projection", fault))
}

#[test]
fn all_hooks_are_asked_for_where_most_are_shown() {
    let mut model = model();
    // One hook that the reference does not show, on the question that shows most.
    let shown = &mut model.stimuli[1].request.capture;
    shown.retain(|quantity| *quantity != gradient("blocks.0.mlp.hook_post"));
    check_plan(&BackwardHooks.plan(&model).unwrap()).unwrap();
    let by_default = model
        .hooks
        .iter()
        .filter(|hook| hook.gate.is_none())
        .count();
    let asked = |variant: &str| {
        let check = check(&BackwardHooks, &model, variant);
        [0, 1].map(|index| check.requests[index].request.capture.len())
    };
    assert_eq!(asked("projection"), [by_default - 1, by_default]);
    assert_eq!(asked("loss"), [2, 2]);
    let verdict = judge(&BackwardHooks, &model, "projection", |_| {});
    let details: Vec<&str> = verdict
        .details
        .iter()
        .map(|detail| detail.value.as_str())
        .collect();
    assert_eq!(
        details,
        ["1 more, which are finite; the reference does not show them"]
    );
}

#[test]
fn gated_hooks_are_asked_for_of_who_has_them() {
    let mut model = model();
    model.tier = Tier::HookedTransformer;
    let check = check(&BackwardHooks, &model, "projection");
    for planned in &check.requests {
        assert_eq!(planned.request.capture.len(), model.hooks.len());
    }
}

#[test]
fn a_choice_among_experts_has_no_gradient() {
    let mut model = model();
    let chosen = HookPoint {
        name: "blocks.0.mlp.hook_expert_indices".into(),
        ..model.hooks[0].clone()
    };
    model.hooks.push(chosen);
    for tier in [Tier::HuggingFace, Tier::HookedTransformer] {
        model.tier = tier;
        let check = check(&BackwardHooks, &model, "projection");
        let chosen = gradient("blocks.0.mlp.hook_expert_indices");
        for planned in &check.requests {
            assert!(!planned.request.capture.contains(&chosen), "{tier:?}");
        }
    }
}

#[test]
fn critical_hooks_alone() {
    let check = check(&CriticalBackwardHooks, &model(), "projection");
    let asked = &check.requests[1].request.capture;
    assert!(asked.contains(&gradient("blocks.0.mlp.hook_post")));
    assert!(!asked.contains(&gradient("blocks.0.ln2.hook_scale")));
    let verdict = judge(&CriticalBackwardHooks, &model(), "projection", |_| {});
    assert_snapshot!(line(&verdict), @"INFO: 6 gradients match; worst error ratio: cumulative 0.00 (gradient of blocks.0.hook_resid_post)");
}

#[test]
fn gradients_as_in_the_reference() {
    assert_snapshot!(complaint(|_| {}), @"INFO: 12 gradients match; worst error ratio: cumulative 0.00 (gradient of unembed.hook_out)");
}

#[test]
fn the_first_on_the_way_back_is_the_headline() {
    assert_snapshot!(complaint(|trace| {
        for hook in ["hook_embed", "blocks.0.mlp.hook_post", "blocks.0.mlp.hook_pre"] {
            edit(trace, &gradient(hook), |value| value + 40.0 * FLOOR);
        }
    }), @"DANGER: first divergence at gradient of blocks.0.mlp.hook_post: cumulative error ratio 40.00");
}

#[test]
fn the_first_nan_on_the_way_back_is_the_headline() {
    assert_snapshot!(complaint(|trace| {
        for hook in ["hook_embed", "blocks.0.mlp.hook_post", "blocks.0.mlp.hook_pre"] {
            edit(trace, &gradient(hook), |_| f64::NAN);
        }
    }), @"DANGER: first divergence at gradient of blocks.0.mlp.hook_post: it is NaN or infinite");
}

#[test]
fn nan_where_the_reference_shows_nothing() {
    let mut model = model();
    let shown = &mut model.stimuli[1].request.capture;
    shown.retain(|quantity| *quantity != gradient("blocks.0.mlp.hook_post"));
    let verdict = judge(&BackwardHooks, &model, "projection", |trace| {
        edit(trace, &gradient("blocks.0.mlp.hook_post"), |_| {
            f64::INFINITY
        });
    });
    assert_snapshot!(line(&verdict), @"DANGER: first divergence at gradient of blocks.0.mlp.hook_post: it is NaN or infinite");
    let verdict = judge(&BackwardHooks, &model, "projection", |trace| {
        trace.values.remove(&gradient("blocks.0.mlp.hook_post"));
    });
    assert_snapshot!(line(&verdict), @"DANGER: first divergence at gradient of blocks.0.mlp.hook_post: the subject does not produce it");
}

#[test]
fn a_gradient_that_is_missing() {
    assert_snapshot!(complaint(|trace| {
        trace.values.remove(&gradient("blocks.0.hook_mlp_out"));
    }), @"DANGER: first divergence at gradient of blocks.0.hook_mlp_out: the subject does not produce it");
}

#[test]
fn a_gradient_in_another_shape() {
    assert_snapshot!(complaint(|trace| {
        let flat = Tensor::from_vec(vec![0.0; POS * D_MODEL], &[1, POS * D_MODEL]).unwrap();
        trace.values.insert(gradient("blocks.0.hook_mlp_out"), flat);
    }), @"DANGER: first divergence at gradient of blocks.0.hook_mlp_out: it is [1, 30], and the value is [1, 5, 6]");
}

#[test]
fn a_hook_that_only_the_reference_has() {
    let mut model = model();
    model
        .hooks
        .retain(|hook| hook.name != "blocks.0.hook_mlp_out");
    let verdict = judge(&BackwardHooks, &model, "projection", |_| {});
    assert_snapshot!(line(&verdict), @"DANGER: first divergence at gradient of blocks.0.hook_mlp_out: the subject does not produce it");
}

#[test]
fn a_reference_without_gradients() {
    let mut model = model();
    model.stimuli.drain(..2);
    for benchmark in [&BackwardHooks as &dyn Benchmark, &CriticalBackwardHooks] {
        let error = benchmark.plan(&model).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert_eq!(
            error.message,
            "the reference shows the gradient at a hook on no input"
        );
    }
}
