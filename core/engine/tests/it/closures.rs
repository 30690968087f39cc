//! Closures at hooks: what they see, what they change, and that nothing is left of them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use tlbench_engine::{Bridge, HookNames, HookResult, Hooks};
use tlbench_sdk::{
    Action, DType, Evaluation, GenerateRequest, GradientRequest, HookPoint, Intervention,
    Objective, Padding, Quantity, Sampling, Target, Tensor, TraceRequest, hooks,
};

use crate::model::{Small, ask, hook, largest_difference, logits};

const ROW: [i64; 5] = [3, 1, 4, 22, 5];

fn bridge() -> Bridge {
    Small::new().bridge(DType::F64)
}

fn question(hooks: &[&str]) -> TraceRequest {
    ask(&[ROW.to_vec(), vec![1, 2]], Padding::Right, hooks)
}

fn differentiated(hooks: &[&str]) -> TraceRequest {
    TraceRequest {
        gradients: Some(GradientRequest {
            objective: Objective::Loss,
        }),
        ..question(hooks)
    }
}

fn looks(_: &Tensor, _: &HookPoint) -> HookResult {
    Ok(None)
}

fn scaled(by: f64) -> impl Fn(&Tensor, &HookPoint) -> HookResult {
    move |value, _| {
        let values = value.to_f64_vec().into_iter().map(|v| v * by).collect();
        Ok(Some(Tensor::from_vec::<f64>(values, value.shape())?))
    }
}

fn scale(target: Target, factor: f64) -> Intervention {
    Intervention::new(target, Action::Scale { factor })
}

#[test]
fn a_closure_that_looks_sees_every_hook_once_in_order_and_changes_nothing() {
    let (bridge, mut seen) = (bridge(), Vec::new());
    let names: Vec<String> = bridge.hooks().iter().map(|h| h.name.clone()).collect();
    let shown: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = question(&shown);
    let expected = bridge.run(&request).unwrap();
    let watching = Hooks::new().forward(HookNames::ungated(), |value, point| {
        assert_eq!(*value, hook(&expected, &point.name), "{}", point.name);
        seen.push(point.name.clone());
        Ok(None)
    });
    let trace = bridge.run_with_hooks(&request, watching).unwrap();
    assert_eq!(trace, expected);
    let ungated = bridge.hooks().iter().filter(|hook| hook.gate.is_none());
    let ungated: Vec<String> = ungated.map(|hook| hook.name.clone()).collect();
    assert_eq!(seen, ungated);
}

#[test]
fn what_a_closure_returns_is_what_the_model_goes_on_with() {
    let bridge = bridge();
    for point in hooks(bridge.spec()) {
        let name = point.name.as_str();
        let mut edited = question(&[]);
        let edit = scale(Target::Hook(name.to_owned()), 1.5);
        edited.interventions.push(edit);
        let expected = logits(&bridge.run(&edited).unwrap());
        // A masked score is no number that can be multiplied back, but -inf stays itself.
        let closure = Hooks::new().forward(name, scaled(1.5));
        let trace = bridge.run_with_hooks(&question(&[]), closure).unwrap();
        assert!(
            largest_difference(&expected, &logits(&trace)) < 1e-12,
            "{name}"
        );
    }
}

#[test]
fn several_at_one_hook_are_called_in_their_order_after_the_edits_of_the_request() {
    let (name, bridge) = ("blocks.0.hook_resid_pre", bridge());
    let mut request = question(&[name]);
    request
        .interventions
        .push(scale(Target::Hook(name.to_owned()), 2.0));
    let first_of = |value: &Tensor| value.to_f64_vec()[0];
    let before = first_of(&hook(&bridge.run(&request).unwrap(), name));
    let seen = RefCell::new(Vec::new());
    let note = |who: &'static str| {
        let seen = &seen;
        move |value: &Tensor, _: &HookPoint| {
            seen.borrow_mut().push((who, first_of(value) / before));
            Ok(None)
        }
    };
    let closures = Hooks::new()
        .forward(name, note("a"))
        .forward("hook_embed", note("elsewhere"))
        .forward(name, scaled(4.0))
        .forward("blocks.*.hook_resid_pre", note("b"))
        .forward(name, scaled(0.5))
        .forward(name, note("c"));
    let trace = bridge.run_with_hooks(&request, closures).unwrap();
    // What the request shows is the value before all of that.
    assert_eq!(first_of(&hook(&trace, name)), before);
    let seen: Vec<_> = seen.into_inner();
    let at_the_hook: Vec<_> = seen.iter().filter(|(who, _)| *who != "elsewhere").collect();
    assert_eq!(at_the_hook[..2], [&("a", 2.0), &("b", 8.0)]);
    assert_eq!(at_the_hook[2], &("c", 4.0));
    // The glob meant the second block as well.
    assert_eq!(at_the_hook[3].0, "b");
    assert_eq!(seen[0].0, "elsewhere");
}

#[test]
fn a_gated_hook_fires_for_a_closure() {
    let bridge = bridge();
    let gated = bridge.hooks().iter().filter(|hook| hook.gate.is_some());
    let gated: BTreeSet<String> = gated.map(|hook| hook.name.clone()).collect();
    let mut seen = BTreeSet::new();
    let closures = Hooks::new().forward(HookNames::matching(|h| h.gate.is_some()), |_, hook| {
        seen.insert(hook.name.clone());
        Ok(None)
    });
    bridge.run_with_hooks(&question(&[]), closures).unwrap();
    assert_eq!((seen.len(), seen), (12, gated));
}

#[test]
fn on_the_way_back_a_closure_sees_what_the_trace_shows() {
    let bridge = bridge();
    let names: Vec<String> = bridge.hooks().iter().map(|h| h.name.clone()).collect();
    let gradient = |name: &String| Quantity::HookGradient(name.clone());
    let mut request = differentiated(&[]);
    request.capture.extend(names.iter().map(gradient));
    let expected = bridge.run(&request).unwrap();
    let mut seen = BTreeSet::new();
    let closures = Hooks::new().backward(HookNames::ungated(), |gradient, point| {
        let shown = expected.value(&Quantity::HookGradient(point.name.clone()));
        let difference = largest_difference(&gradient.to_f64_vec(), &shown.unwrap().to_f64_vec());
        assert!(difference < 1e-14, "{}: {difference}", point.name);
        seen.insert(point.name.clone());
        Ok(None)
    });
    // Nobody else asks for a gradient, and none is shown.
    let trace = bridge.run_with_hooks(&differentiated(&[]), closures);
    assert_eq!(trace.unwrap().values.len(), 1);
    assert_eq!(seen.len(), 17 * 2 + 6);
}

#[test]
fn a_gradient_that_a_closure_returns_flows_on() {
    let bridge = bridge();
    let (late, early) = ("blocks.1.hook_resid_pre", "blocks.0.hook_attn_out");
    let shown = Quantity::HookGradient(early.to_owned());
    let mut request = differentiated(&[]);
    request.capture = vec![shown.clone()];
    let mut edited = request.clone();
    let target = Target::HookGradient(late.to_owned());
    edited.interventions.push(scale(target, -3.0));
    let expected = bridge.run(&edited).unwrap();
    let closures = Hooks::new().backward(late, scaled(-3.0));
    let trace = bridge.run_with_hooks(&request, closures).unwrap();
    let values = |trace: &tlbench_sdk::Trace| trace.value(&shown).unwrap().to_f64_vec();
    assert!(largest_difference(&values(&trace), &values(&expected)) < 1e-14);
    assert_ne!(trace, bridge.run(&request).unwrap());
}

#[test]
fn what_a_closure_put_in_is_a_constant() {
    let bridge = bridge();
    let mut request = differentiated(&[]);
    let before = Quantity::HookGradient("hook_embed".to_owned());
    request.capture = vec![before.clone()];
    let closures = Hooks::new().forward("blocks.0.hook_resid_pre", scaled(1.0));
    let trace = bridge.run_with_hooks(&request, closures).unwrap();
    let gradient = trace.value(&before).unwrap().to_f64_vec();
    assert!(gradient.iter().all(|&gradient| gradient == 0.0));
}

#[test]
fn they_are_gone_when_the_run_is_over_and_after_an_error_too() {
    let (bridge, request) = (bridge(), question(&[]));
    let before = bridge.run(&request).unwrap();
    let closures = Hooks::new().forward("hook_embed", scaled(2.0));
    let changed = bridge.run_with_hooks(&request, closures).unwrap();
    assert_ne!(changed, before);
    assert_eq!(bridge.run(&request).unwrap(), before);
    let mut calls = 0;
    let closures = Hooks::new().forward("hook_embed", scaled(2.0)).forward(
        "blocks.*.hook_resid_pre",
        |_, _| {
            calls += 1;
            Err("no more".into())
        },
    );
    let error = bridge.run_with_hooks(&request, closures).unwrap_err();
    insta::assert_snapshot!(error, @"closure at blocks.0.hook_resid_pre: no more");
    assert_eq!(calls, 1, "the run ends where a closure fails");
    assert_eq!(bridge.run(&request).unwrap(), before);
}

#[test]
fn a_failure_on_the_way_back_is_told_in_its_own_words() {
    let closures = Hooks::new().backward("hook_embed", |_, _| Err("not this one".into()));
    let error = bridge().run_with_hooks(&differentiated(&[]), closures);
    insta::assert_snapshot!(error.unwrap_err(), @"closure at hook_embed: not this one");
}

#[test]
fn a_panic_of_a_closure_is_its_callers() {
    let bridge = bridge();
    for back in [false, true] {
        let panics = |_: &Tensor, _: &HookPoint| panic!("in a closure");
        let closures = match back {
            true => Hooks::new().backward("hook_embed", panics),
            false => Hooks::new().forward("hook_embed", panics),
        };
        let run = || bridge.run_with_hooks(&differentiated(&[]), closures);
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"in a closure"));
    }
    bridge.run(&question(&[])).unwrap();
}

#[test]
fn a_run_that_a_closure_begins_does_not_see_it() {
    let (bridge, request) = (bridge(), question(&["blocks.0.hook_resid_pre"]));
    let plain = bridge.run(&request).unwrap();
    let mut inner = Vec::new();
    let closures = Hooks::new().forward("hook_embed", |value, point| {
        inner.push(bridge.run(&request)?);
        let own = Hooks::new().forward("hook_embed", looks);
        inner.push(bridge.run_with_hooks(&request, own)?);
        scaled(3.0)(value, point)
    });
    let outer = bridge.run_with_hooks(&request, closures).unwrap();
    assert_eq!(inner, [plain.clone(), plain.clone()]);
    assert_ne!(outer, plain);
}

#[test]
fn processing_and_edits_of_weights_of_the_request_hold_as_well() {
    let bridge = bridge();
    let compat = bridge.compat().unwrap();
    let request = question(&["blocks.1.hook_resid_post"]);
    let processed = request.clone().processed(compat.processing().clone());
    let closures = Hooks::new().forward("hook_embed", looks);
    let trace = bridge.run_with_hooks(&processed, closures).unwrap();
    assert_eq!(trace, bridge.run(&processed).unwrap());
    assert_ne!(trace, bridge.run(&request).unwrap());
}

#[test]
fn in_bf16_what_is_put_in_is_rounded() {
    let bridge = Small::new().bridge(DType::BF16);
    let third = |value: &Tensor, _: &HookPoint| -> HookResult {
        Ok(Some(Tensor::from_vec(
            vec![1.0_f32 / 3.0; value.len()],
            value.shape(),
        )?))
    };
    let mut later = None;
    let closures = Hooks::new()
        .forward("blocks.0.hook_resid_pre", third)
        .forward("blocks.0.hook_mlp_in", looks)
        .forward("blocks.0.hook_q_input", |value, _| {
            later = Some(value.clone());
            Ok(None)
        });
    bridge.run_with_hooks(&question(&[]), closures).unwrap();
    let rounded = f64::from(half_bf16(1.0 / 3.0));
    assert_eq!(later.unwrap().to_f64_vec()[0], rounded);
}

/// `value` to the 8 significant bits of bf16, ties aside.
fn half_bf16(value: f32) -> f32 {
    f32::from_bits((value.to_bits() + 0x8000) & 0xFFFF_0000)
}

#[test]
fn what_is_wrong_is_named() {
    let bridge = bridge();
    let plain = question(&[]);
    let mut local = question(&["hook_embed"]);
    local.evaluation = Evaluation::Local;
    let chunks = TraceRequest {
        chunks: vec![2, 3],
        ..plain.clone()
    };
    let flat = |_: &Tensor, _: &HookPoint| Ok(Some(Tensor::scalar(1.0_f64)));
    let narrow = |value: &Tensor, _: &HookPoint| {
        Ok(Some(Tensor::from_vec(
            vec![0.0_f32; value.len()],
            value.shape(),
        )?))
    };
    let at = |names: &str| Hooks::new().forward(names.to_owned(), looks);
    let cases = [
        (&plain, at("blocks.0.hook_rezid_pre")),
        (&plain, at("blocks.7.*")),
        (&plain, at("blocks.[.hook_z")),
        (&plain, Hooks::new().forward("hook_embed", flat)),
        (&plain, Hooks::new().forward("hook_embed", narrow)),
        (&plain, Hooks::new().backward("hook_embed", looks)),
        (&local, at("hook_embed")),
        (&chunks, at("hook_embed")),
    ];
    let errors = cases.map(|(request, closures)| {
        let error = bridge.run_with_hooks(request, closures).unwrap_err();
        error.to_string()
    });
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn tokens_are_generated_by_the_model_that_closures_make() {
    let bridge = bridge();
    let request = |use_cache| TraceRequest {
        generate: Some(GenerateRequest {
            max_new_tokens: 4,
            stop_tokens: Vec::new(),
            use_cache,
            sampling: Sampling::Greedy,
        }),
        ..TraceRequest::new(
            ask(&[vec![3, 1, 4], vec![1, 2]], Padding::Left, &[]).inputs,
            vec![Quantity::Generated],
        )
    };
    let mut calls = Vec::new();
    let steered = [true, false].map(|use_cache| {
        let steer = |value: &Tensor, point: &HookPoint| {
            calls.push(value.shape()[1]);
            scaled(-2.0)(value, point)
        };
        let closures = Hooks::new().forward("blocks.1.hook_mlp_out", steer);
        let trace = bridge.run_with_hooks(&request(use_cache), closures);
        trace.unwrap().values[&Quantity::Generated].clone()
    });
    assert_eq!(calls, [3, 1, 1, 1, 3, 4, 5, 6], "with a cache and without");
    assert_eq!(steered[0], steered[1]);
    let plain = bridge.run(&request(true)).unwrap();
    assert_ne!(steered[0], plain.values[&Quantity::Generated]);
}
