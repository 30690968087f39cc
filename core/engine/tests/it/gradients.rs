//! Gradients against differences of the model itself, in f64.

use tlbench_engine::{Arithmetic, Bridge, RoundingReference};
use tlbench_sdk::spec::{Activation, MlpSpec, NormKind};
use tlbench_sdk::{
    ATTENTION_MASK, Action, DType, GradientRequest, Intervention, ModelSpec, Objective, Padding,
    Quantity, Target, Tensor, Trace, TraceRequest, TraceSource, hooks, noise, projection_weights,
};

use crate::model::{Small, ask, largest_difference, logits, spec, weights_of};

const STEP: f64 = 1e-4;
const OBJECTIVES: [Objective; 3] = [
    Objective::Loss,
    Objective::Projection { seed: 5 },
    Objective::LogitDifference {
        position: 3,
        token: 4,
        minus: 9,
    },
];

fn rows() -> [Vec<i64>; 2] {
    [vec![3, 1, 4, 22, 5], vec![7, 8, 3]]
}

fn gradient_request(padding: Padding, objective: &Objective) -> TraceRequest {
    let mut request = ask(&rows(), padding, &[]);
    request.gradients = Some(GradientRequest {
        objective: objective.clone(),
    });
    request
}

fn every_hook(spec: &ModelSpec) -> Vec<Quantity> {
    hooks(spec)
        .into_iter()
        .map(|point| Quantity::HookGradient(point.name))
        .collect()
}

fn every_parameter(spec: &ModelSpec) -> Vec<Quantity> {
    weights_of(spec)
        .into_keys()
        .map(Quantity::ParameterGradient)
        .collect()
}

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

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}

fn gradient(trace: &Trace, quantity: &Quantity) -> Tensor {
    trace.value(quantity).unwrap().clone()
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
            "{name}, {padding:?}, {objective:?}: {found} for {expected}"
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
            let small = Small::with(small.spec.clone(), &weights.collect());
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
            "{moved:?}, {padding:?}, {objective:?}: {found} for {expected}"
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
    let bridge = Small::with(spec, &stored).bridge(DType::F64);
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

fn back_edit(hook: &str, action: Action) -> Intervention {
    Intervention::new(Target::HookGradient(hook.into()), action)
}

#[test]
fn an_edited_gradient_goes_to_what_is_before_its_hook_and_is_shown_as_it_came() {
    let bridge = Small::new().bridge(DType::F64);
    let mut request = gradient_request(Padding::Right, &OBJECTIVES[1]);
    let [before, at] = ["blocks.1.hook_resid_pre", "blocks.1.hook_resid_post"]
        .map(|name| Quantity::HookGradient(name.into()));
    request.capture = vec![before.clone(), at.clone()];
    let plain = bridge.run(&request).unwrap();
    let factors = [2.0, -3.0];
    for factor in factors {
        let scale = Action::Scale { factor };
        let edit = back_edit("blocks.1.hook_resid_post", scale);
        request.interventions.push(edit);
    }
    let edited = bridge.run(&request).unwrap();
    assert_eq!(gradient(&plain, &at), gradient(&edited, &at));
    let scaled: Vec<f64> = gradient(&plain, &before)
        .to_f64_vec()
        .iter()
        .map(|gradient| gradient * factors[0] * factors[1])
        .collect();
    assert!(largest_difference(&scaled, &gradient(&edited, &before).to_f64_vec()) < 1e-12);
}

#[test]
fn every_gradient_can_be_edited_at_one_row_and_position() {
    let small = Small::new();
    let bridge = small.bridge(DType::F64);
    let before = Quantity::HookGradient("hook_embed".into());
    let mut request = gradient_request(Padding::Right, &OBJECTIVES[1]);
    request.capture = vec![before.clone()];
    let plain = gradient(&bridge.run(&request).unwrap(), &before).to_f64_vec();
    for point in hooks(&small.spec) {
        if point.name == "hook_pos_embed" || point.name == "hook_embed" {
            continue;
        }
        let edit = back_edit(&point.name, Action::Scale { factor: 3.0 });
        let mut request = request.clone();
        request.interventions = vec![edit.at_rows([1]).at_positions([1])];
        let edited = gradient(&bridge.run(&request).unwrap(), &before).to_f64_vec();
        let half = plain.len() / 2;
        assert!(
            largest_difference(&plain[..half], &edited[..half]) < 1e-14,
            "{}",
            point.name
        );
        let change = largest_difference(&plain[half..], &edited[half..]);
        assert!(change > 1e-9, "{} is decorative", point.name);
    }
}

#[test]
fn what_is_put_in_a_gradients_place_flows_on_whatever_happened_to_the_value() {
    let bridge = Small::new().bridge(DType::F64);
    let name = "blocks.0.hook_resid_pre";
    let before = Quantity::HookGradient("hook_embed".into());
    let mut request = gradient_request(Padding::Right, &OBJECTIVES[1]);
    request.capture = vec![before.clone()];
    let shape = gradient(&bridge.run(&request).unwrap(), &before)
        .shape()
        .to_vec();
    let operand = Tensor::from_vec(noise(3, shape.iter().product()), &shape).unwrap();
    request.operands.insert("put".into(), operand.clone());
    let zero = Intervention::new(Target::Hook(name.into()), Action::Zero);
    request.interventions = vec![zero];
    let cut = gradient(&bridge.run(&request).unwrap(), &before);
    assert!(cut.to_f64_vec().iter().all(|&gradient| gradient == 0.0));
    let put = Action::Replace {
        operand: "put".into(),
    };
    request.interventions.push(back_edit(name, put));
    assert_eq!(gradient(&bridge.run(&request).unwrap(), &before), operand);
}

#[test]
fn a_perturbation_is_the_noise_of_the_whole_value_as_strong_as_what_is_edited() {
    let bridge = Small::new().bridge(DType::F64);
    let name = "blocks.0.attn.hook_attn_scores";
    let mut request = ask(
        &[vec![3, 1, 4, 22, 5]],
        Padding::Right,
        &[name, "blocks.0.attn.hook_pattern"],
    );
    let scores = crate::model::hook(&bridge.run(&request).unwrap(), name).to_f64_vec();
    let perturb = Action::Perturb {
        seed: 11,
        relative: 0.1,
    };
    let edit = Intervention::new(Target::Hook(name.into()), perturb);
    request.interventions = vec![edit.at_positions([2])];
    let pattern = crate::model::hook(&bridge.run(&request).unwrap(), "blocks.0.attn.hook_pattern");
    let is_edited = |i: usize| i / 5 % 5 == 2 && scores[i].is_finite();
    let edited: Vec<f64> = (0..scores.len())
        .filter(|&i| is_edited(i))
        .map(|i| scores[i])
        .collect();
    let rms = norm(&edited) / (edited.len() as f64).sqrt();
    let noise = noise(11, scores.len());
    let expected: Vec<f64> = (0..scores.len())
        .map(|i| {
            scores[i]
                + if is_edited(i) {
                    0.1 * rms * noise[i]
                } else {
                    0.0
                }
        })
        .collect();
    let expected: Vec<f64> = expected
        .chunks(5)
        .flat_map(|row| {
            let sum: f64 = row.iter().map(|score| score.exp()).sum();
            row.iter().map(move |score| score.exp() / sum)
        })
        .collect();
    assert!(largest_difference(&pattern.to_f64_vec(), &expected) < 1e-12);
}

#[test]
fn an_edit_of_a_norm_reaches_every_copy_of_its_input() {
    let small = Small::new();
    let bridge = small.bridge(DType::F64);
    let scale =
        |name: &str, factor| Intervention::new(Target::Hook(name.into()), Action::Scale { factor });
    let mut request = ask(&rows(), Padding::Left, &[]);
    for hook in ["hook_scale", "hook_normalized"] {
        request.interventions = vec![scale(&format!("blocks.0.ln1.{hook}"), 2.0)];
        let shared = logits(&bridge.run(&request).unwrap());
        request
            .interventions
            .push(scale("blocks.0.hook_q_input", 1.0));
        let per_head = logits(&bridge.run(&request).unwrap());
        assert!(largest_difference(&shared, &per_head) < 1e-12, "{hook}");
    }
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

#[test]
fn wrong_requests_say_what_is_wrong() {
    let small = Small::new();
    let bridge = small.bridge(DType::F32);
    let mut messages = Vec::new();
    let mut refused = |edit: &dyn Fn(&mut TraceRequest)| {
        let mut request = gradient_request(Padding::Right, &OBJECTIVES[0]);
        request.capture = vec![Quantity::HookGradient("hook_embed".into())];
        edit(&mut request);
        messages.push(bridge.run(&request).unwrap_err().to_string());
    };
    refused(&|r| r.gradients = None);
    refused(&|r| {
        r.capture.clear();
        r.gradients = None;
        r.interventions = vec![back_edit("hook_embed", Action::Zero)];
    });
    refused(&|r| r.evaluation = tlbench_sdk::Evaluation::Local);
    refused(&|r| r.capture = vec![Quantity::HookGradient("hook_embde".into())]);
    refused(&|r| r.capture = vec![Quantity::ParameterGradient("wet".into())]);
    refused(&|r| r.interventions = vec![back_edit("hook_embde", Action::Zero)]);
    refused(&|r| {
        r.gradients = Some(GradientRequest {
            objective: Objective::LogitDifference {
                position: 1,
                token: 23,
                minus: 0,
            },
        });
    });
    refused(&|r| r.inputs = ask(&[vec![1], vec![2]], Padding::Right, &[]).inputs);
    refused(&|r| {
        r.capture = vec![Quantity::HookGradient("blocks.0.hook_q_input".into())];
        r.interventions = vec![back_edit("blocks.0.ln1.hook_scale", Action::Zero)];
    });
    insta::assert_snapshot!(messages.join("\n"));
}
