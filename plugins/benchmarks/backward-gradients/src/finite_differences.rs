//! Gradients against differences of the function itself, in f64: no reference is needed to know that they are right.

use tlbench_sdk::judge::{answer_of, wrong_count};
use tlbench_sdk::{
    ATTENTION_MASK, Action, Check, GradientRequest, Intervention, ModelInfo, Objective,
    PlannedRequest, PluginError, Quantity, Severity, Stimulus, Target, Tensor, Trace, TraceRequest,
    Verdict, is_large, noise, projection_weights,
};

use crate::parameters::not_there;

/// The check's name.
pub(crate) const VARIANT: &str = "finite_differences";

/// Of the projection that is differentiated.
const OBJECTIVE_SEED: u64 = 11;

/// Of the directions: one for each of so many derivatives, along noise in every parameter.
const DIRECTIONS: [u64; 2] = [101, 202];

/// In units of each parameter's RMS. Central differences of fourth order use one and two steps to either side; rounding
/// costs 1e-16 over the step, and the fifth derivative the step's fourth power.
const STEP: f64 = 5e-6;

/// Where the function is evaluated along a direction, in steps.
const STEPS: [f64; 4] = [1.0, -1.0, 2.0, -2.0];

/// The largest relative disagreement: what rounding in f64 leaves.
const AGREEMENT: f64 = 1e-8;

/// The check. A copy of the weights in f64 for each evaluation is too much to ask of a large model.
pub(crate) fn plan(model: &ModelInfo) -> Option<Check> {
    let is_empty = model.parameters.iter().all(|one| one.elements() == 0);
    if is_empty || is_large(&model.parameters) {
        return None;
    }
    let inputs = &input(model)?.request.inputs;
    let names = || {
        model
            .parameters
            .iter()
            .map(|parameter| parameter.name.clone())
    };
    let gradients = TraceRequest {
        gradients: Some(GradientRequest {
            objective: Objective::Projection {
                seed: OBJECTIVE_SEED,
            },
        }),
        ..model.request(
            inputs.clone(),
            names().map(Quantity::ParameterGradient).collect(),
        )
    };
    let weights = model.request(inputs.clone(), names().map(Quantity::Weight).collect());
    let mut requests = vec![
        PlannedRequest::exact_subject(gradients),
        PlannedRequest::exact_subject(weights),
    ];
    for seed in DIRECTIONS {
        requests.extend(STEPS.map(|steps| {
            PlannedRequest::exact_subject(TraceRequest {
                interventions: moved(model, seed, steps * STEP),
                ..model.request(inputs.clone(), vec![Quantity::Logits])
            })
        }));
    }
    Some(Check {
        variant: VARIANT.to_owned(),
        requests,
    })
}

/// The shortest plain input of one row that has more than one token, or else the one that there is.
fn input(model: &ModelInfo) -> Option<&Stimulus> {
    let single_row = model
        .stimuli
        .iter()
        .filter(|stimulus| stimulus.request.is_plain() && stimulus.request.shape()[0] == 1);
    single_row.min_by_key(|stimulus| {
        let [_, pos] = stimulus.request.shape();
        (pos < 2, pos)
    })
}

fn direction_seed(seed: u64, parameter: usize) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(parameter as u64)
}

/// Every parameter, `relative` of its RMS further along its noise.
fn moved(model: &ModelInfo, seed: u64, relative: f64) -> Vec<Intervention> {
    let edits = model
        .parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| {
            let target = Target::Weight(parameter.name.clone());
            let seed = direction_seed(seed, index);
            Intervention::new(target, Action::Perturb { seed, relative })
        });
    edits.collect()
}

pub(crate) fn judge(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
) -> Result<Verdict, PluginError> {
    let [gradients, weights, evaluations @ ..] = answers else {
        return Err(wrong_count(answers));
    };
    if evaluations.len() != DIRECTIONS.len() * STEPS.len() {
        return Err(wrong_count(answers));
    }
    if let Some(reason) = not_there(model, &check.requests[0].request.capture, gradients) {
        return Ok(Verdict::new(Severity::Danger, reason));
    }
    let mask = check
        .requests
        .first()
        .and_then(|planned| planned.request.inputs.get(ATTENTION_MASK));
    let mask = mask.map(Tensor::to_f64_vec);
    let mask = mask.ok_or_else(|| PluginError::internal("a question without a mask"))?;
    let mut worst = 0.0_f64;
    for (seed, evaluations) in DIRECTIONS.iter().zip(evaluations.chunks(STEPS.len())) {
        let Slope { slope, usual } = slope(model, *seed, gradients, weights)?;
        let difference = difference(evaluations, &mask)?;
        let error = (difference - slope).abs() / usual.max(slope.abs()).max(difference.abs());
        // A function that does not change has a slope of 0 whatever its gradients are: NaN here, which stays.
        let is_no_worse = worst.is_nan() || error <= worst;
        worst = if is_no_worse { worst } else { error };
    }
    Ok(verdict(model, worst))
}

fn verdict(model: &ModelInfo, worst: f64) -> Verdict {
    let (directions, count) = (DIRECTIONS.len(), model.parameters.len());
    let along = format!("along {directions} random directions of all {count} parameters");
    if worst.is_nan() {
        let message = format!("{along}, the logits do not change or are not finite");
        return Verdict::new(Severity::Danger, message);
    }
    let severity = if worst <= AGREEMENT {
        Severity::Info
    } else {
        Severity::Danger
    };
    let message = format!(
        "{along}, gradients and finite differences in f64 differ by {worst:.1e} (at most {AGREEMENT:.0e})"
    );
    Verdict::new(severity, message)
}

/// The derivative along the direction, from values at [`STEPS`].
fn difference(evaluations: &[Trace], mask: &[f64]) -> Result<f64, PluginError> {
    let values = evaluations
        .iter()
        .map(|trace| projected(trace, mask))
        .collect::<Result<Vec<f64>, PluginError>>()?;
    let [ahead, behind, far_ahead, far_behind] = values[..] else {
        return Err(PluginError::internal("an evaluation is missing"));
    };
    Ok((8.0 * (ahead - behind) - (far_ahead - far_behind)) / (12.0 * STEP))
}

/// The derivative along a direction.
struct Slope {
    slope: f64,
    /// Its RMS over all directions. Along some the function is nearly level by chance, and rounding is all that it does.
    usual: f64,
}

/// The derivative along the direction, from the gradients.
fn slope(
    model: &ModelInfo,
    seed: u64,
    gradients: &Trace,
    weights: &Trace,
) -> Result<Slope, PluginError> {
    let (mut slope, mut usual_square) = (0.0, 0.0);
    for (index, parameter) in model.parameters.iter().enumerate() {
        let gradient = Quantity::ParameterGradient(parameter.name.clone());
        let gradient = answer_of(gradients, &gradient)?;
        let weight = answer_of(weights, &Quantity::Weight(parameter.name.clone()))?;
        let weight = weight.to_f64_vec();
        let square = weight.iter().map(|value| value * value).sum::<f64>();
        let rms = (square / weight.len().max(1) as f64).sqrt();
        let direction = noise(direction_seed(seed, index), weight.len());
        let gradient = gradient.to_f64_vec();
        let product: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        slope += rms * product;
        usual_square += gradient.iter().map(|g| (rms * g).powi(2)).sum::<f64>();
    }
    let usual = usual_square.sqrt();
    Ok(Slope { slope, usual })
}

/// The objective, from the logits.
fn projected(trace: &Trace, mask: &[f64]) -> Result<f64, PluginError> {
    let logits = answer_of(trace, &Quantity::Logits)?;
    let &[batch, pos, d_vocab] = logits.shape() else {
        return Err(PluginError::internal(
            "logits that are no [batch, pos, vocabulary]",
        ));
    };
    let weights = projection_weights(OBJECTIVE_SEED, [batch, pos, d_vocab])?.to_f64_vec();
    let logits = logits.to_f64_vec();
    let rows = logits
        .chunks(d_vocab)
        .zip(weights.chunks(d_vocab))
        .zip(mask);
    Ok(rows
        .filter(|(_, real)| **real != 0.0)
        .map(|((logits, weights), _)| logits.iter().zip(weights).map(|(l, w)| l * w).sum::<f64>())
        .sum())
}
