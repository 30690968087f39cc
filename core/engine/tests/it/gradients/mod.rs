//! Gradients in every form that they are asked for in.

mod edits;
mod requests;
mod slopes;

use tlbench_sdk::{
    GradientRequest, ModelSpec, Objective, Padding, Quantity, Tensor, Trace, TraceRequest, hooks,
};

use crate::model::{ask, weights_of};

pub(super) const OBJECTIVES: [Objective; 3] = [
    Objective::Loss,
    Objective::Projection { seed: 5 },
    Objective::LogitDifference {
        position: 3,
        token: 4,
        minus: 9,
    },
];

pub(super) fn rows() -> [Vec<i64>; 2] {
    [vec![3, 1, 4, 22, 5], vec![7, 8, 3]]
}

pub(super) fn gradient_request(padding: Padding, objective: &Objective) -> TraceRequest {
    let mut request = ask(&rows(), padding, &[]);
    request.gradients = Some(GradientRequest {
        objective: objective.clone(),
    });
    request
}

pub(super) fn every_hook(spec: &ModelSpec) -> Vec<Quantity> {
    hooks(spec)
        .into_iter()
        .filter(|point| !point.holds_integers())
        .map(|point| Quantity::HookGradient(point.name))
        .collect()
}

pub(super) fn every_parameter(spec: &ModelSpec) -> Vec<Quantity> {
    weights_of(spec)
        .into_keys()
        .map(Quantity::ParameterGradient)
        .collect()
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}

pub(super) fn gradient(trace: &Trace, quantity: &Quantity) -> Tensor {
    trace.value(quantity).unwrap().clone()
}
