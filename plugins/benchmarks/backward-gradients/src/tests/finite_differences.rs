//! Gradients against differences of the function itself.

use insta::assert_snapshot;
use tlbench_sdk::{
    Action, Check, Objective, Parameter, PlannedRequest, Quantity, Role, Target, Tensor, Trace,
    noise, projection_weights,
};

use super::model::{D_VOCAB, POS, check, line, model, verdict};
use crate::finite_differences::VARIANT;
use crate::parameters::GradientComputation;

/// A model of one parameter, `w [d_vocab]`, whose logits at position `p` are `(p + 1) w^3`.
fn cubic() -> tlbench_sdk::ModelInfo {
    let mut model = model();
    model.parameters = vec![Parameter {
        name: "w".into(),
        shape: vec![D_VOCAB],
    }];
    model
}

fn weight() -> Vec<f64> {
    noise(7, D_VOCAB).iter().map(|value| value + 2.0).collect()
}

/// The weight after the edits of `planned`.
fn edited(planned: &PlannedRequest) -> Vec<f64> {
    let mut weight = weight();
    for edit in &planned.request.interventions {
        let (Target::Weight(_), Action::Perturb { seed, relative }) = (&edit.target, &edit.action)
        else {
            panic!("another edit: {edit:?}")
        };
        let rms = (weight.iter().map(|w| w * w).sum::<f64>() / D_VOCAB as f64).sqrt();
        for (value, direction) in weight.iter_mut().zip(noise(*seed, D_VOCAB)) {
            *value += relative * rms * direction;
        }
    }
    weight
}

fn answer(planned: &PlannedRequest) -> Trace {
    assert_eq!(planned.role, Role::ExactSubject);
    let factor = |index: usize| (index / D_VOCAB + 1) as f64;
    let weight = edited(planned);
    let shown = |quantity: &Quantity| match quantity {
        Quantity::Weight(_) => Tensor::vector(weight.clone()),
        Quantity::Logits => {
            let logits = (0..POS * D_VOCAB).map(|i| factor(i) * weight[i % D_VOCAB].powi(3));
            Tensor::from_vec(logits.collect::<Vec<f64>>(), &[1, POS, D_VOCAB]).unwrap()
        }
        _ => {
            let Some(Objective::Projection { seed }) = planned
                .request
                .gradients
                .as_ref()
                .map(|asked| asked.objective.clone())
            else {
                panic!("another objective")
            };
            let projection = projection_weights(seed, [1, POS, D_VOCAB])
                .unwrap()
                .to_f64_vec();
            let mut gradient = vec![0.0; D_VOCAB];
            for (i, share) in projection.into_iter().enumerate() {
                gradient[i % D_VOCAB] += share * factor(i) * 3.0 * weight[i % D_VOCAB].powi(2);
            }
            Tensor::vector(gradient)
        }
    };
    let asked = planned.request.capture.iter();
    Trace {
        values: asked
            .map(|quantity| (quantity.clone(), shown(quantity)))
            .collect(),
        ..Trace::default()
    }
}

fn planned() -> Check {
    check(&GradientComputation, &cubic(), VARIANT)
}

/// What is said after `fault` was made in the answers: gradients, weights, and four evaluations for each direction.
fn complaint(fault: impl Fn(&mut Vec<Trace>)) -> String {
    let check = planned();
    let mut answers = check.requests.iter().map(answer).collect();
    fault(&mut answers);
    match verdict(&GradientComputation, &cubic(), &check, &answers) {
        Ok(verdict) => {
            let line = line(&verdict);
            // How far rounding leaves the two apart is not for a snapshot.
            match line.split_once(" differ by ") {
                Some((before, after)) if verdict.severity.passed() => {
                    let (_, bound) = after.split_once(' ').unwrap();
                    format!("{before} differ by .. {bound}")
                }
                _ => line,
            }
        }
        Err(error) => format!("ERROR: {}", error.message),
    }
}

fn edit(trace: &mut Trace, change: impl Fn(f64) -> f64) {
    for value in trace.values.values_mut() {
        let changed = value.to_f64_vec().into_iter().map(&change).collect();
        *value = Tensor::from_vec::<f64>(changed, value.shape()).unwrap();
    }
}

#[test]
fn gradients_that_are_right() {
    assert_snapshot!(complaint(|_| {}), @"INFO: along 2 random directions of all 1 parameters, gradients and finite differences in f64 differ by .. (at most 1e-8)");
}

#[test]
fn gradients_that_are_off_by_a_millionth() {
    assert_snapshot!(complaint(|answers| edit(&mut answers[0], |value| value * (1.0 + 1e-6))), @"DANGER: along 2 random directions of all 1 parameters, gradients and finite differences in f64 differ by 1.0e-6 (at most 1e-8)");
}

#[test]
fn gradients_that_are_wrong_along_the_second_direction_alone() {
    assert_snapshot!(complaint(|answers| edit(&mut answers[6], |value| value * 1.01)), @"DANGER: along 2 random directions of all 1 parameters, gradients and finite differences in f64 differ by 1.0e0 (at most 1e-8)");
}

#[test]
fn gradients_that_are_missing_or_nan() {
    assert_snapshot!(complaint(|answers| answers[0].values.clear()), @"DANGER: w has no gradient");
    assert_snapshot!(complaint(|answers| edit(&mut answers[0], |_| f64::NAN)), @"DANGER: the gradient of w is NaN or infinite");
}

#[test]
fn a_function_that_does_not_change() {
    assert_snapshot!(complaint(|answers| {
        edit(&mut answers[0], |_| 0.0);
        for evaluation in &mut answers[2..] {
            edit(evaluation, |_| 1.0);
        }
    }), @"DANGER: along 2 random directions of all 1 parameters, the logits do not change or are not finite");
}

/// A gradient without the parts of it along the directions that are tried.
fn across_directions(gradient: &[f64], check: &Check) -> Vec<f64> {
    let seeds = check.requests.iter().filter_map(|planned| {
        match planned.request.interventions.first()?.action {
            Action::Perturb { seed, .. } => Some(seed),
            _ => None,
        }
    });
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut across = gradient.to_vec();
    // One is not across the other, so that it takes more than one round.
    for seed in seeds.collect::<Vec<_>>().repeat(50) {
        let direction = noise(seed, D_VOCAB);
        let along = dot(&across, &direction) / dot(&direction, &direction);
        for (value, direction) in across.iter_mut().zip(direction) {
            *value -= along * direction;
        }
    }
    across
}

/// What is left of slope and difference is rounding, and they are compared by the slope that other directions have.
#[test]
fn directions_along_which_the_function_is_level() {
    assert_snapshot!(complaint(|answers| {
        for gradient in answers[0].values.values_mut() {
            *gradient = Tensor::vector(across_directions(&gradient.to_f64_vec(), &planned()));
        }
        for evaluation in &mut answers[2..] {
            edit(evaluation, |_| 1.0);
        }
    }), @"INFO: along 2 random directions of all 1 parameters, gradients and finite differences in f64 differ by .. (at most 1e-8)");
}

#[test]
fn gradients_of_zero_where_the_function_changes() {
    assert_snapshot!(complaint(|answers| edit(&mut answers[0], |_| 0.0)), @"DANGER: along 2 random directions of all 1 parameters, gradients and finite differences in f64 differ by 1.0e0 (at most 1e-8)");
}

#[test]
fn logits_of_nan_along_one_direction() {
    assert_snapshot!(complaint(|answers| edit(&mut answers[2], |_| f64::NAN)), @"DANGER: along 2 random directions of all 1 parameters, the logits do not change or are not finite");
}

#[test]
fn answers_that_are_missing_are_an_error() {
    assert_snapshot!(complaint(|answers| answers.truncate(2)), @"ERROR: 2 answers to judge");
    assert_snapshot!(complaint(|answers| answers[1].values.clear()), @"ERROR: the subject left out weight:w");
    assert_snapshot!(complaint(|answers| answers[5].values.clear()), @"ERROR: the subject left out logits");
}

#[test]
fn the_shortest_row_of_more_than_one_token_is_asked() {
    let mut model = cubic();
    let named = |id: &str, rows: &[Vec<i64>]| {
        tlbench_sdk::Stimulus::from_rows(id, rows, tlbench_sdk::Padding::Right, 0)
            .unwrap()
            .showing([Quantity::Logits])
    };
    model.stimuli = vec![
        named("single", &[vec![1]]),
        named("long", &[vec![1; 9]]),
        named("short", &[vec![1; 4]]),
        named("batch", &[vec![1; 2], vec![1; 2]]),
    ];
    let check = check(&GradientComputation, &model, VARIANT);
    assert_eq!(check.requests[0].request.shape(), [1, 4]);
}

#[test]
fn a_large_model_is_left_alone() {
    let mut model = cubic();
    model.stimuli.drain(..2);
    model.parameters[0].shape = vec![(16 << 20) + 1];
    let error = tlbench_sdk::Benchmark::plan(&GradientComputation, &model).unwrap_err();
    assert_snapshot!(error.message, @"the reference shows the gradient of a parameter on no input");
}
