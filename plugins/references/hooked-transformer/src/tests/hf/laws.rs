//! What holds for every feature.

use candle_core::{Device, Var};
use tlbench_sdk::spec::{Activation, MlpSpec};
use tlbench_sdk::{ModelSpec, Padding, Quantity, hooks};

use super::{FEATURES, spec_of};
use crate::model::activate;
use crate::tests::gradients::{hooks_are_differentiated, parameters_are_differentiated};
use crate::tests::pieces::agrees_in_pieces;
use crate::tests::small::{Small, padded};

/// One of each family that tlbench ships an adapter for, and of each kind that differentiates in a way of its own.
const DIFFERENTIATED: [&str; 17] = [
    "yarn",
    "window",
    "head_norms",
    "all_heads_norms",
    "norms_after_rotation",
    "clip",
    "partial_rotary",
    "fused_heads",
    "interleaved",
    "sandwich_and_caps",
    "post_norm_residual",
    "positions_and_quick_gelu",
    "norms_of_sums",
    "offset_layer_norm_and_relu_squared",
    "multipliers",
    "scored_after_the_choice",
    "sigmoid_bias_and_shared",
];

fn named(name: &str) -> ModelSpec {
    ModelSpec {
        architecture: name.to_owned(),
        ..spec_of(name)
    }
}

/// The same with GELU in the place of ReLU, in whose kink differences see no slope.
fn smooth(name: &str) -> ModelSpec {
    let mut spec = named(name);
    for layer in &mut spec.layers {
        let mlp = layer.mlp.as_mut().map(|branch| &mut branch.body);
        if let Some(MlpSpec::Dense(dense)) = mlp
            && dense.activation == Activation::Relu
        {
            dense.activation = Activation::Gelu;
        }
    }
    spec
}

#[test]
fn the_gradient_at_every_hook_is_the_slope() {
    for name in DIFFERENTIATED {
        hooks_are_differentiated(&Small::of(smooth(name)));
    }
}

#[test]
fn the_gradient_by_every_checkpoint_tensor_is_the_slope() {
    for name in DIFFERENTIATED {
        parameters_are_differentiated(&Small::of(smooth(name)));
    }
}

#[test]
fn in_pieces_every_value_and_gradient_is_the_same_unless_positions_go_by_the_length() {
    for (name, _) in FEATURES {
        let spec = named(name);
        if !spec.positions_depend_on_length() {
            agrees_in_pieces(&Small::of(spec));
        }
    }
}

#[test]
fn every_hook_of_the_spec_fires_once_and_in_its_order() {
    for (name, spec) in FEATURES {
        let spec = spec();
        let expected: Vec<String> = hooks(&spec).into_iter().map(|hook| hook.name).collect();
        let capture = expected.iter().map(Quantity::hook).collect();
        let request = padded(Padding::Left, capture);
        assert_eq!(Small::of(spec).source.fired(&request), expected, "{name}");
    }
}

#[test]
fn the_derivative_of_every_activation_is_its_slope_and_that_of_relu_at_zero_is_zero() {
    let points = [-3.0, -0.7, -0.1, 0.2, 1.1, 2.5];
    for activation in [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Relu,
        Activation::ReluSquared,
    ] {
        let at = |offset: f64| {
            let x = Var::new(&points.map(|x| x + offset), &Device::Cpu).unwrap();
            let y = activate(&x, activation).unwrap();
            let gradients = y.sum_all().unwrap().backward().unwrap();
            let derivative = gradients.get(&x).unwrap().to_vec1::<f64>().unwrap();
            (y.to_vec1::<f64>().unwrap(), derivative)
        };
        let step = 1e-3;
        let [(below, _), (above, _)] = [at(-step), at(step)];
        let [(far_below, _), (far_above, _)] = [at(-2.0 * step), at(2.0 * step)];
        for (nth, derivative) in at(0.0).1.into_iter().enumerate() {
            let near = 8.0 * (above[nth] - below[nth]);
            let slope = (near - (far_above[nth] - far_below[nth])) / (12.0 * step);
            let error = (derivative - slope).abs();
            assert!(
                error < 1e-10,
                "{activation:?} at {}: {error:e}",
                points[nth]
            );
        }
    }
    for activation in [Activation::Relu, Activation::ReluSquared] {
        let x = Var::new(&[0.0], &Device::Cpu).unwrap();
        let y = activate(&x, activation).unwrap();
        let gradient = y.backward().unwrap().get(&x).unwrap().to_vec1::<f64>();
        assert_eq!(gradient.unwrap(), [0.0], "{activation:?}");
    }
}
