//! The gradient of parameters.

use insta::assert_snapshot;
use tlbench_sdk::{Benchmark, Judgement, PlannedRequest, Quantity, Role, Tensor, Trace};

use super::model::{FLOOR, edit, healthy, judge, line, model, parameter_gradient};
use crate::parameters::GradientComputation;

fn complaint(fault: impl Fn(&mut Trace)) -> String {
    line(&judge(&GradientComputation, &model(), "projection", fault))
}

#[test]
fn gradients_as_in_the_reference() {
    assert_snapshot!(complaint(|_| {}), @"INFO: 11 parameter gradients match; worst error ratio: cumulative 0.00 (gradient of parameter head.b)");
}

#[test]
fn a_gradient_that_is_wrong() {
    assert_snapshot!(complaint(|trace| {
        edit(trace, &parameter_gradient("in.w"), |value| value + 40.0 * FLOOR);
    }), @"DANGER: first divergence at gradient of parameter in.w: cumulative error ratio 40.00");
}

#[test]
fn a_gradient_that_is_missing() {
    assert_snapshot!(complaint(|trace| {
        trace.values.remove(&parameter_gradient("in.b"));
    }), @"DANGER: in.b has no gradient");
}

#[test]
fn a_gradient_in_another_shape() {
    assert_snapshot!(complaint(|trace| {
        let one = Tensor::vector(vec![0.0]);
        trace.values.insert(parameter_gradient("in.b"), one);
    }), @"DANGER: the gradient of in.b is [1], and it is [7]");
}

#[test]
fn a_gradient_of_nan() {
    assert_snapshot!(complaint(|trace| {
        edit(trace, &parameter_gradient("wte"), |_| f64::NAN);
    }), @"DANGER: the gradient of wte is NaN or infinite");
}

#[test]
fn a_parameter_that_the_reference_does_not_show_is_worth_a_word() {
    let mut model = model();
    let shown = &mut model.stimuli[1].request.capture;
    shown.retain(|quantity| *quantity != parameter_gradient("ln_f.w"));
    let verdict = judge(&GradientComputation, &model, "projection", |_| {});
    assert_snapshot!(line(&verdict), @"WARNING: 10 parameter gradients match; worst error ratio: cumulative 0.00 (gradient of parameter head.b); 1 not shown by the reference");
}

#[test]
fn a_parameter_that_only_the_reference_has() {
    let mut model = model();
    model
        .parameters
        .retain(|parameter| parameter.name != "ln_f.w");
    let verdict = judge(&GradientComputation, &model, "projection", |_| {});
    assert_snapshot!(line(&verdict), @"DANGER: first divergence at gradient of parameter ln_f.w: the subject does not produce it");
}

#[test]
fn what_the_reference_shows_nowhere_is_asked_for_all_the_same() {
    let mut model = model();
    for stimulus in &mut model.stimuli {
        let shown = &mut stimulus.request.capture;
        shown.retain(|quantity| !matches!(quantity, Quantity::ParameterGradient(_)));
    }
    let check = super::model::check(&GradientComputation, &model, "loss");
    let [asked] = &check.requests[..] else {
        panic!("asks more than the reference")
    };
    assert_eq!(asked.role, Role::Reference);
    assert_eq!(asked.request.capture.len(), model.parameters.len());
    // One that answers after all is compared.
    let answers = [healthy(&model, asked)];
    let more = GradientComputation.judge(&model, &check, &answers).unwrap();
    let of_subject = PlannedRequest::subject(asked.request.clone());
    assert_eq!(more, Judgement::More(vec![of_subject]));
}

#[test]
fn hooks_are_not_asked_for_here() {
    let check = super::model::check(&GradientComputation, &model(), "projection");
    let asked = check
        .requests
        .iter()
        .flat_map(|planned| &planned.request.capture);
    assert!(
        asked
            .into_iter()
            .all(|quantity| matches!(quantity, Quantity::ParameterGradient(_)))
    );
}

#[test]
fn gradients_that_are_too_many_to_hold_are_compared_in_parts() {
    let mut model = model();
    for parameter in &mut model.parameters[..3] {
        parameter.shape = vec![20 << 20];
    }
    let shown = &mut model.stimuli[1].request.capture;
    shown.retain(|quantity| *quantity != parameter_gradient("ln_f.w"));
    let checks = GradientComputation.plan(&model).unwrap();
    let of_projection = checks
        .iter()
        .filter(|check| check.variant.starts_with("projection"));
    let lines: Vec<String> = of_projection
        .map(|check| {
            let counts = check
                .requests
                .iter()
                .map(|asked| asked.request.capture.len().to_string());
            format!(
                "{}: {}",
                check.variant,
                counts.collect::<Vec<_>>().join(" and ")
            )
        })
        .collect();
    // The one that the reference does not show comes with the first.
    assert_snapshot!(lines.join("\n"), @r"
    projection.part_1: 1 and 2
    projection.part_2: 1 and 1
    projection.part_3: 1 and 1
    projection.part_4: 7 and 7
    ");
}
