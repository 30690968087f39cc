//! Gradients against differences of the model itself, in f64.

use tlbench_engine::Bridge;
use tlbench_sdk::spec::{Activation, MlpSpec, NormKind};
use tlbench_sdk::{
    ATTENTION_MASK, Action, DType, Intervention, ModelSpec, Objective, Padding, Quantity, Target,
    Tensor, TraceRequest, noise, projection_weights,
};

use super::{OBJECTIVES, dot, every_hook, every_parameter, gradient, gradient_request, norm};
use crate::attention::kinds_of_attention;
use crate::features::{FEATURES, spec_with};
use crate::model::{Small, spec, weights_of};

const STEP: f64 = 1e-4;

/// The objective's value.
fn value(bridge: &Bridge, request: &TraceRequest, objective: &Objective) -> f64 {
    let request = TraceRequest {
        gradients: None,
        capture: vec![Quantity::Logits, Quantity::Loss],
        ..request.clone()
    };
    let trace = bridge.run(&request).unwrap();
    let all = trace.value(&Quantity::Logits).unwrap();
    let &[batch, pos, d_vocab] = all.shape() else {
        panic!("{:?}", all.shape())
    };
    let logits = all.to_f64_vec();
    match *objective {
        Objective::Loss => trace.value(&Quantity::Loss).unwrap().to_f64_vec()[0],
        Objective::Projection { seed } => {
            let weights = projection_weights(seed, [batch, pos, d_vocab]).unwrap();
            let real = request.inputs[ATTENTION_MASK].to_f64_vec();
            let weighted = logits.iter().zip(weights.to_f64_vec()).enumerate();
            weighted
                .map(|(i, (logit, weight))| logit * weight * real[i / d_vocab])
                .sum()
        }
        Objective::LogitDifference {
            position,
            token,
            minus,
        } => (0..batch)
            .map(|row| &logits[(row * pos + position) * d_vocab..])
            .map(|logits| logits[token] - logits[minus])
            .sum(),
    }
}

/// The slope of `f` at 0, to the fourth order.
fn slope(f: impl Fn(f64) -> f64) -> f64 {
    (8.0 * (f(STEP) - f(-STEP)) - (f(2.0 * STEP) - f(-2.0 * STEP))) / (12.0 * STEP)
}

/// `request` with `step` times `along` added at the hook.
fn nudged(request: &TraceRequest, hook: &str, along: &Tensor, step: f64) -> TraceRequest {
    let mut request = request.clone();
    let values = along.to_f64_vec().iter().map(|v| v * step).collect();
    let delta = Tensor::from_vec(values, along.shape()).unwrap();
    request.operands.insert("delta".into(), delta);
    let action = Action::Add {
        operand: "delta".into(),
    };
    let target = Target::Hook(hook.into());
    request
        .interventions
        .push(Intervention::new(target, action));
    request
}

/// That the gradient at every hook of `spec` is the slope of the objective as the hook's value changes.
fn hooks_agree(small: &Small, padding: Padding, objective: &Objective) {
    let bridge = small.bridge(DType::F64);
    let mut request = gradient_request(padding, objective);
    request.capture = every_hook(&small.spec);
    let trace = bridge.run(&request).unwrap();
    for (seed, quantity) in request.capture.iter().enumerate() {
        let Quantity::HookGradient(name) = quantity else {
            continue;
        };
        let gradient = gradient(&trace, quantity);
        let along = noise(seed as u64, gradient.len());
        let along = Tensor::from_vec(along, gradient.shape()).unwrap();
        let expected =
            slope(|step| value(&bridge, &nudged(&request, name, &along, step), objective));
        let gradient = gradient.to_f64_vec();
        let found = dot(&gradient, &along.to_f64_vec());
        let error = (found - expected).abs() / norm(&gradient).max(1e-3);
        assert!(
            error < 1e-8,
            "{}: {name}, {padding:?}, {objective:?}: {found} for {expected}",
            small.spec.architecture
        );
    }
}

#[test]
fn the_gradient_at_every_hook_is_the_slope_there() {
    let small = Small::new();
    for padding in [Padding::Left, Padding::Right] {
        for objective in &OBJECTIVES {
            hooks_agree(&small, padding, objective);
        }
    }
}

#[test]
fn so_it_is_for_every_activation_and_norm_and_for_positions_with_an_offset() {
    for activation in [
        Activation::Gelu,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Relu,
        Activation::ReluSquared,
    ] {
        let mut spec = spec();
        for layer in &mut spec.layers {
            let MlpSpec::Dense(mlp) = &mut layer.mlp.as_mut().unwrap().body else {
                panic!("a dense MLP")
            };
            mlp.activation = activation;
        }
        hooks_agree(&Small::of(spec), Padding::Left, &OBJECTIVES[1]);
    }
    let mut spec = spec();
    let norm = spec.final_norm.as_mut().unwrap();
    (norm.kind, norm.gain_offset, norm.bias) = (NormKind::RmsNorm, 1.0, None);
    spec.embedding.positions.as_mut().unwrap().offset = 2;
    let small = Small::of(spec);
    hooks_agree(&small, Padding::Left, &OBJECTIVES[1]);
    parameters_agree(&small, Padding::Right, &OBJECTIVES[1]);
}

#[test]
fn so_they_are_for_every_kind_of_attention() {
    for kind in kinds_of_attention() {
        let small = Small::of(kind.spec);
        for padding in [Padding::Left, Padding::Right] {
            hooks_agree(&small, padding, &OBJECTIVES[1]);
        }
        parameters_agree(&small, Padding::Left, &OBJECTIVES[1]);
    }
}

/// That the gradients of all parameters are the slope of the objective as all of them change.
fn parameters_agree(small: &Small, padding: Padding, objective: &Objective) {
    let mut request = gradient_request(padding, objective);
    request.capture = every_parameter(&small.spec);
    let trace = small.bridge(DType::F64).run(&request).unwrap();
    let weights = weights_of(&small.spec);
    for (number, moved) in weights.keys().map(Some).chain([None, None]).enumerate() {
        let along = |name: &String, count| match moved {
            Some(moved) if moved != name => vec![0.0; count],
            _ => noise(number as u64 * 1000 + name.len() as u64, count),
        };
        let expected = slope(|step| {
            let weights = weights.iter().map(|(name, weight)| {
                let along = along(name, weight.len());
                let values = weight.to_f64_vec();
                let values = values.iter().zip(along).map(|(v, a)| v + step * a);
                let weight = Tensor::from_vec(values.collect(), weight.shape()).unwrap();
                (name.clone(), weight)
            });
            let small = Small::with(small.spec.clone(), weights);
            value(&small.bridge(DType::F64), &request, objective)
        });
        let (mut found, mut size) = (0.0, 0.0_f64);
        for (name, weight) in &weights {
            let gradient = gradient(&trace, &Quantity::ParameterGradient(name.clone()));
            assert_eq!(gradient.shape(), weight.shape(), "{name}");
            let along = along(name, weight.len());
            found += dot(&gradient.to_f64_vec(), &along);
            size = size.max(norm(&gradient.to_f64_vec()) * f64::from(u8::from(norm(&along) > 0.0)));
        }
        assert!(
            (found - expected).abs() < 1e-8 * size.max(1e-2),
            "{}: {moved:?}, {padding:?}, {objective:?}: {found} for {expected}",
            small.spec.architecture
        );
    }
}

#[test]
fn the_gradients_of_tied_fused_and_all_other_parameters_are_slopes() {
    let small = Small::new();
    parameters_agree(&small, Padding::Left, &OBJECTIVES[0]);
    parameters_agree(&small, Padding::Right, &OBJECTIVES[1]);
}

#[test]
fn the_gradients_of_all_hooks_and_parameters_of_every_feature_are_slopes() {
    for (name, _) in FEATURES {
        let small = Small::of(ModelSpec {
            architecture: name.into(),
            ..spec_with(name)
        });
        hooks_agree(&small, Padding::Left, &OBJECTIVES[1]);
        parameters_agree(&small, Padding::Right, &OBJECTIVES[1]);
    }
}
