//! The backward of every operation against differences of its forward.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, Var};
use proptest::prelude::*;
use tlbench_sdk::noise;
use tlbench_sdk::spec::{Activation, NormKind, Pairing, TensorSource};

use super::*;
use crate::arithmetic::Arithmetic;
use crate::tape::{Operand, Tape};
use crate::weights::Part;

const STEP: f64 = 1e-3;

fn random(seed: u64, shape: &[usize]) -> Tensor {
    let values = noise(seed, shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b)
        .unwrap()
        .sum_all()
        .unwrap()
        .to_scalar::<f64>()
        .unwrap()
}

/// The slope of `f` at 0, to the fourth order.
fn slope(f: impl Fn(f64) -> f64) -> f64 {
    (8.0 * (f(STEP) - f(-STEP)) - (f(2.0 * STEP) - f(-2.0 * STEP))) / (12.0 * STEP)
}

fn moved(value: &Tensor, along: &Tensor, step: f64) -> Tensor {
    (value + (along * step).unwrap()).unwrap()
}

/// That the gradient of a random projection of `f` by each of `arguments` is its slope in a random direction.
fn agrees<const N: usize>(arguments: &[Tensor; N], f: impl Fn([&Tensor; N]) -> Result<Tensor>) {
    let variables = arguments
        .each_ref()
        .map(|argument| Var::from_tensor(argument).unwrap());
    let output = f(variables.each_ref().map(Var::as_tensor)).unwrap();
    let weights = random(99, output.dims());
    let objective = (&output * &weights).unwrap().sum_all().unwrap();
    let gradients = objective.backward().unwrap();
    for (index, variable) in variables.iter().enumerate() {
        let along = random(7 + index as u64, variable.dims());
        let found = dot(gradients.get(variable).unwrap(), &along);
        let expected = slope(|step| {
            let mut arguments = arguments.clone();
            arguments[index] = moved(&arguments[index], &along, step);
            dot(&f(arguments.each_ref()).unwrap(), &weights)
        });
        assert!(
            (found - expected).abs() < 1e-8 * expected.abs().max(1.0),
            "argument {index}: {found} for {expected}"
        );
    }
}

/// The same by parameters, which candle knows nothing of.
fn agrees_by_parameters<const N: usize>(
    parameters: &[Tensor; N],
    f: impl Fn([Operand; N]) -> Result<Tensor>,
) {
    let names: [String; N] = std::array::from_fn(|index| index.to_string());
    let tape = Tape::new(names.clone().into(), candle_core::DType::F64).unwrap();
    let operands = std::array::from_fn(|index| {
        tape.operand(&Part {
            values: parameters[index].clone(),
            source: TensorSource::new([names[index].clone()], parameters[index].dims().to_vec()),
        })
    });
    let output = f(operands).unwrap();
    let weights = random(99, output.dims());
    let objective = (&output * &weights).unwrap().sum_all().unwrap();
    objective.backward().unwrap();
    let recorded = tape.finish();
    for (index, name) in names.iter().enumerate() {
        let along = random(7 + index as u64, parameters[index].dims());
        let expected = slope(|step| {
            let mut parameters = parameters.clone();
            parameters[index] = moved(&parameters[index], &along, step);
            dot(&f(parameters.map(Operand::constant)).unwrap(), &weights)
        });
        let found = dot(&recorded.gradient(name).unwrap(), &along);
        assert!(
            (found - expected).abs() < 1e-8 * expected.abs().max(1.0),
            "parameter {index}: {found} for {expected}"
        );
    }
}

fn kinds() -> impl Strategy<Value = NormKind> {
    prop_oneof![Just(NormKind::LayerNorm), Just(NormKind::RmsNorm)]
}

fn smooth() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::Gelu),
        Just(Activation::GeluTanh),
        Just(Activation::QuickGelu),
        Just(Activation::Silu),
    ]
}

fn arithmetics() -> impl Strategy<Value = Arithmetic> {
    prop_oneof![
        Just(Arithmetic::Native),
        Just(Arithmetic::Backwards),
        (2_usize..5).prop_map(Arithmetic::SplitSums)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_norm(seed: u64, kind in kinds(), rows in 1_usize..5, width in 2_usize..40) {
        let x = random(seed, &[rows, width]);
        agrees(std::array::from_ref(&x), |[x]| norm_scale(x, kind, 0.1));
        let scale = (random(seed ^ 1, &[rows, 1]).abs().unwrap() + 1.0).unwrap();
        agrees(&[x.clone(), scale], |[x, scale]| normalize(x, scale, kind));
        agrees(&[x], |[x]| normalize(x, &norm_scale(x, kind, 0.1)?, kind));
    }

    #[test]
    fn a_gain_and_a_bias(seed: u64, rows in 1_usize..5, width in 1_usize..140) {
        let x = random(seed, &[rows, width]);
        let (gain, bias) = (random(seed ^ 1, &[width]), random(seed ^ 2, &[width]));
        agrees(std::array::from_ref(&x), |[x]| {
            let [gain, bias] = [&gain, &bias].map(|part| Some(Operand::constant(part.clone())));
            scale_and_shift(x, gain, bias)
        });
        let variable = Var::from_tensor(&x).unwrap();
        agrees_by_parameters(&[gain.clone(), bias.clone()], |[gain, bias]| {
            scale_and_shift(&variable, Some(gain), Some(bias))
        });
        agrees_by_parameters(&[gain], |[gain]| scale_and_shift(&variable, Some(gain), None));
        agrees_by_parameters(&[bias], |[bias]| scale_and_shift(&variable, None, Some(bias)));
    }

    #[test]
    fn an_activation(seed: u64, activation in smooth(), count in 1_usize..50) {
        let x = (random(seed, &[count]) * 3.0).unwrap();
        agrees(&[x], |[x]| activate(x, activation));
    }

    #[test]
    fn a_sigmoid_and_a_softcap(seed: u64, cap in 0.5_f64..4.0, count in 1_usize..50) {
        let x = (random(seed, &[count]) * 3.0).unwrap();
        agrees(&[x], |[x]| softcap(&sigmoid(x)?, cap));
    }

    #[test]
    fn a_clamped_gate(seed: u64, alpha in 0.5_f64..2.0, count in 1_usize..50) {
        // No value lies at a kink, which is at 1 or -1.
        let off_the_kinks = |value: &f64| match (value.abs() - 1.0).abs() < 0.1 {
            true => 0.5 * value,
            false => *value,
        };
        let [gate, up] = [1, 2].map(|salt| {
            let values: Vec<f64> = noise(seed ^ salt, count);
            let values = values.iter().map(off_the_kinks).collect::<Vec<f64>>();
            Tensor::from_vec(values, count, &Device::Cpu).unwrap()
        });
        agrees(&[gate, up], |[gate, up]| clamped_swiglu(gate, up, alpha, 1.0));
    }

    #[test]
    fn a_softmax_of_masked_scores(
        seed: u64,
        (heads, pos, keys) in (1_usize..4, 1_usize..6, 1_usize..6),
        hidden in proptest::collection::vec(proptest::bool::ANY, 50),
        softcap in proptest::option::of(0.3..3.0_f64),
        biased: bool,
    ) {
        let visible = Arc::new(hidden[..2 * pos * keys].to_vec());
        let scores = random(seed, &[2, heads, pos, keys]);
        let key_bias = biased.then(|| random(seed ^ 1, &[2, heads, keys]));
        let scoring = Scoring { scale: 0.7, softcap, key_bias };
        agrees(&[scores], |[scores]| {
            softmax(&mask_scores(scores, scoring.clone(), &visible)?)
        });
    }

    #[test]
    fn a_rotation(
        seed: u64,
        (pos, heads, pairs, rest) in (1_usize..4, 1_usize..4, 1_usize..4, 0_usize..3),
        interleaved: bool,
    ) {
        let pairing = match interleaved {
            true => Pairing::Interleaved,
            false => Pairing::Half,
        };
        let [cos, sin] = [1, 2].map(|salt| random(seed ^ salt, &[2, pos, pairs]));
        let rotation = Rotation { cos, sin, pairing };
        let x = random(seed, &[2, pos, heads, 2 * pairs + rest]);
        agrees(&[x], |[x]| rotate(x, &rotation));
    }

    #[test]
    fn a_clip(seed: u64, count in 1_usize..50) {
        // Away from its kinks, where there is no slope.
        let limit = 0.5;
        let x = random(seed, &[count]);
        let near = x.to_vec1::<f64>().unwrap();
        prop_assume!(near.iter().all(|value| (value.abs() - limit).abs() > 0.02));
        agrees(&[x], |[x]| clip(x, limit));
    }

    #[test]
    fn a_product(
        seed: u64,
        arithmetic in arithmetics(),
        (m, k, n) in (1_usize..6, 1_usize..9, 1_usize..7),
        (lhs_turned, rhs_turned) in (proptest::bool::ANY, proptest::bool::ANY),
    ) {
        let turned = |turned: bool, matrix: &Tensor| match turned {
            true => matrix.t(),
            false => Ok(matrix.clone()),
        };
        let shape = |turned: bool, rows, columns| match turned {
            true => [3, columns, rows],
            false => [3, rows, columns],
        };
        let lhs = random(seed, &shape(lhs_turned, m, k));
        let rhs = random(seed ^ 1, &shape(rhs_turned, k, n));
        agrees(&[lhs.clone(), rhs.clone()], |[lhs, rhs]| {
            arithmetic.matmul(&turned(lhs_turned, lhs)?, &turned(rhs_turned, rhs)?)
        });
        let variable = Var::from_tensor(&turned(lhs_turned, &lhs).unwrap()).unwrap();
        let rhs = turned(rhs_turned, &rhs).unwrap();
        agrees_by_parameters(&[rhs], |[rhs]| product(&variable, rhs, arithmetic));
    }
}

#[test]
fn a_relu_has_slope_0_at_its_kink() {
    let x = Var::from_slice(&[-1.0_f64, 0.0, 2.0], 3, &Device::Cpu).unwrap();
    for (activation, expected) in [
        (Activation::Relu, [0.0, 0.0, 1.0]),
        (Activation::ReluSquared, [0.0, 0.0, 4.0]),
    ] {
        let output = activate(&x, activation).unwrap().sum_all().unwrap();
        let gradients = output.backward().unwrap();
        let found = gradients.get(&x).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(found, expected, "{activation:?}");
    }
}

#[test]
fn a_clamped_gate_lets_the_gradient_through_at_its_bounds_and_not_beyond() {
    let at = |values: [f64; 5]| Var::from_slice(&values, 5, &Device::Cpu).unwrap();
    let (gate, up) = (
        at([0.5, 2.0, 2.1, 0.5, 0.5]),
        at([0.5, 0.5, 0.5, -2.0, -2.1]),
    );
    let output = clamped_swiglu(&gate, &up, 1.702, 2.0).unwrap();
    let gradients = output.sum_all().unwrap().backward().unwrap();
    let flows = |variable: &Var| {
        let gradient = gradients.get(variable).unwrap().to_vec1::<f64>().unwrap();
        gradient
            .into_iter()
            .map(|by| by != 0.0)
            .collect::<Vec<bool>>()
    };
    assert_eq!(flows(&gate), [true, true, false, true, true]);
    assert_eq!(flows(&up), [true, true, true, true, false]);
}

#[test]
fn rounding_lets_the_gradient_through_rounded_as_the_value_is() {
    let x = Var::from_slice(&[0.3_f32, 5.0], 2, &Device::Cpu).unwrap();
    let weights = Tensor::from_slice(&[0.1_f32, 2.0], 2, &Device::Cpu).unwrap();
    let output = (round(&x, Narrow::Bf16).unwrap() * weights)
        .unwrap()
        .sum_all()
        .unwrap();
    let gradients = output.backward().unwrap();
    let found = gradients.get(&x).unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found, [0.100_097_656, 2.0]);
}

#[test]
fn far_from_0_slopes_are_numbers() {
    for activation in [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
    ] {
        let x = Var::from_slice(&[-1e4_f32, 1e4], 2, &Device::Cpu).unwrap();
        let output = activate(&x, activation).unwrap().sum_all().unwrap();
        let gradients = output.backward().unwrap();
        let found = gradients.get(&x).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(found, [0.0, 1.0], "{activation:?}");
    }
}
