//! What is asked for, in which precision and by which name, does not change a gradient.

use tlbench_engine::{Arithmetic, Bridge, RoundingReference};
use tlbench_sdk::{
    DType, GradientRequest, Objective, Padding, Quantity, Trace, TraceSource, hooks,
};

use super::{OBJECTIVES, every_hook, every_parameter, gradient, gradient_request, norm, rows};
use crate::model::{Small, ask, largest_difference, spec, weights_of};

#[test]
fn a_gradient_does_not_depend_on_what_else_is_asked_for() {
    let small = Small::new();
    let bridge = small.bridge(DType::F64);
    let mut request = gradient_request(Padding::Left, &OBJECTIVES[0]);
    request.capture = every_hook(&small.spec);
    request.capture.extend(every_parameter(&small.spec));
    let together = bridge.run(&request).unwrap();
    for quantity in request.capture.clone() {
        request.capture = vec![quantity.clone()];
        let alone = bridge.run(&request).unwrap();
        assert_eq!(alone.values.len(), 1);
        let difference = largest_difference(
            &gradient(&alone, &quantity).to_f64_vec(),
            &gradient(&together, &quantity).to_f64_vec(),
        );
        assert!(difference < 1e-12, "{quantity}: {difference}");
    }
}

#[test]
fn parts_of_a_question_in_turn_are_those_of_runs_of_their_own() {
    let small = Small::new();
    let raw = || small.bridge(DType::F32);
    let compat = || raw().compat().unwrap();
    for opened in [&raw as &dyn Fn() -> Bridge, &compat] {
        let bridge = opened();
        let backwards = bridge.with_arithmetic(Arithmetic::Backwards);
        let parameters = every_parameter(bridge.spec());
        let run = |bridge: &Bridge, part: &[Quantity]| {
            let mut request = gradient_request(Padding::Left, &OBJECTIVES[0]);
            request.capture = part.to_vec();
            bridge.run(&request).unwrap()
        };
        let parts = || parameters.chunks(5);
        assert!(parts().len() > 2);
        let alone: Vec<Trace> = parts().map(|part| run(&opened(), part)).collect();
        let in_turn: Vec<Trace> = parts().map(|part| run(&bridge, part)).collect();
        let twice: Vec<Trace> = parts().map(|part| run(&bridge, part)).collect();
        let between_others = parts().map(|part| {
            run(&backwards, part);
            run(&bridge, part)
        });
        assert_eq!(in_turn, alone);
        assert_eq!(twice, alone);
        assert_eq!(between_others.collect::<Vec<_>>(), alone);
    }
}

#[test]
fn a_run_with_gradients_computes_the_same_values() {
    let small = Small::new();
    let bridge = small.bridge(DType::F32);
    let names: Vec<String> = hooks(&small.spec)
        .into_iter()
        .filter(|point| point.gate.is_none())
        .map(|point| point.name)
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = ask(&rows(), Padding::Left, &names);
    let plain = bridge.run(&request).unwrap();
    let mut differentiated = request.clone();
    differentiated.gradients = Some(GradientRequest {
        objective: Objective::Loss,
    });
    let gradients = names
        .iter()
        .map(|name| Quantity::HookGradient((*name).into()));
    differentiated.capture.extend(gradients);
    let found = bridge.run(&differentiated).unwrap();
    for (quantity, value) in &plain.values {
        assert_eq!(found.value(quantity), Some(value), "{quantity}");
    }
}

#[test]
fn gradients_in_f32_are_those_in_f64_up_to_rounding_in_any_order() {
    let small = Small::new();
    let mut request = gradient_request(Padding::Left, &OBJECTIVES[1]);
    request.capture = every_hook(&small.spec);
    request.capture.extend(every_parameter(&small.spec));
    let exact = small.bridge(DType::F64).run(&request).unwrap();
    let single = small.bridge(DType::F32);
    let split = single.with_arithmetic(Arithmetic::SplitSums(3));
    for bridge in [single, split] {
        let rounded = bridge.run(&request).unwrap();
        for (quantity, exact) in &exact.values {
            let (exact, rounded) = (
                exact.to_f64_vec(),
                gradient(&rounded, quantity).to_f64_vec(),
            );
            let difference = largest_difference(&exact, &rounded);
            assert!(
                difference < 1e-5 * norm(&exact).max(0.1),
                "{quantity}: {difference}"
            );
        }
    }
}

#[test]
fn the_bridge_as_its_own_reference_knows_how_exact_gradients_are() {
    let small = Small::new();
    let mut request = gradient_request(Padding::Left, &OBJECTIVES[1]);
    request.capture = every_hook(&small.spec);
    request.capture.extend(every_parameter(&small.spec));
    let reference = RoundingReference::new(small.bridge(DType::F64), &small.bridge(DType::F32));
    let trace = reference.trace(&request).unwrap();
    for quantity in &request.capture {
        let floor = trace.floor(quantity).unwrap().cumulative;
        assert!(floor < 1e-4, "{quantity}: {floor}");
    }
}

#[test]
fn a_parameter_is_found_by_every_name_that_it_may_be_stored_under() {
    let mut spec = spec();
    spec.unembed.projection.weight.names = vec!["head".into(), "wte".into()];
    let stored = weights_of(&crate::model::spec());
    let bridge = Small::with(spec, stored).bridge(DType::F64);
    let mut request = gradient_request(Padding::Left, &OBJECTIVES[0]);
    let [head, tied] = ["head", "wte"].map(|name| Quantity::ParameterGradient(name.into()));
    request.capture = vec![head.clone(), tied.clone()];
    let trace = bridge.run(&request).unwrap();
    assert_eq!(gradient(&trace, &head), gradient(&trace, &tied));
}

#[test]
fn in_a_narrow_precision_gradients_are_there_and_of_the_same_size() {
    let small = Small::new();
    let mut request = gradient_request(Padding::Left, &OBJECTIVES[1]);
    request.capture = every_parameter(&small.spec);
    let exact = small.bridge(DType::F64).run(&request).unwrap();
    let narrow = small.bridge(DType::BF16).run(&request).unwrap();
    for (quantity, exact) in &exact.values {
        let (exact, narrow) = (exact.to_f64_vec(), gradient(&narrow, quantity).to_f64_vec());
        let difference: Vec<f64> = exact.iter().zip(&narrow).map(|(a, b)| a - b).collect();
        assert!(
            norm(&difference) < 0.1 * norm(&exact).max(0.1),
            "{quantity}"
        );
    }
}

#[test]
fn hidden_scores_have_gradient_0_and_hidden_weights_of_the_pattern_do_not() {
    let bridge = Small::new().bridge(DType::F64);
    let mut request = gradient_request(Padding::Right, &OBJECTIVES[1]);
    let [scores, pattern] = ["hook_attn_scores", "hook_pattern"]
        .map(|name| Quantity::HookGradient(format!("blocks.0.attn.{name}")));
    request.capture = vec![scores.clone(), pattern.clone()];
    let trace = bridge.run(&request).unwrap();
    // The first query of the first row, of keys 0 to 4, sees the first key alone.
    assert_eq!(gradient(&trace, &scores).to_f64_vec()[1..5], [0.0; 4]);
    let pattern = gradient(&trace, &pattern).to_f64_vec();
    assert!(pattern[1..5].iter().all(|&gradient| gradient != 0.0));
}

#[test]
fn a_deep_model_does_not_exhaust_the_stack() {
    let mut spec = spec();
    spec.layers = (0..400).map(|_| spec.layers[0].clone()).collect();
    let small = Small::of(spec);
    let mut request = gradient_request(Padding::Left, &OBJECTIVES[1]);
    request.capture = vec![Quantity::HookGradient("hook_embed".into())];
    let trace = small.bridge(DType::F32).run(&request).unwrap();
    let gradient = gradient(&trace, &request.capture[0]).to_f64_vec();
    assert!(gradient.iter().any(|&gradient| gradient != 0.0));
}
