//! Gradients against finite differences, in f64.

use tlbench_sdk::{
    Action, GradientRequest, Intervention, Objective, Padding, Parameter, Processing, Quantity,
    Target, Tensor, TraceRequest, hooks, noise, projection_weights,
};

use super::small::{D_VOCAB, Small, distance, padded, spec};

const SEED: u64 = 11;
const STEP: f64 = 1e-4;

fn projected(capture: Vec<Quantity>) -> TraceRequest {
    TraceRequest {
        gradients: Some(GradientRequest {
            objective: Objective::Projection { seed: SEED },
        }),
        ..padded(Padding::Left, capture)
    }
}

/// The objective of [`projected`], from the logits.
fn objective(model: &Small, request: &TraceRequest) -> f64 {
    let request = TraceRequest {
        gradients: None,
        ..request.clone()
    };
    let logits = model.exact(&request, &Quantity::Logits);
    let &[batch, pos, d_vocab] = logits.shape() else {
        panic!("{:?}", logits.shape())
    };
    let weights = projection_weights(SEED, [batch, pos, d_vocab]).unwrap();
    let mask = request.inputs["attention_mask"].to_f64_vec();
    let logits = logits.to_f64_vec();
    let terms = logits.iter().zip(weights.to_f64_vec()).enumerate();
    terms
        .map(|(i, (logit, weight))| logit * weight * mask[i / d_vocab])
        .sum()
}

/// How the objective changes when `target` moves by a step along `direction`, by central differences of fourth order.
fn slope(model: &Small, request: &TraceRequest, target: &Target, direction: &Tensor) -> f64 {
    let at = |steps: f64| {
        let moved = direction
            .to_f64_vec()
            .iter()
            .map(|d| d * steps * STEP)
            .collect();
        let moved = Tensor::from_vec::<f64>(moved, direction.shape()).unwrap();
        let mut request = request.clone();
        request.operands = [("moved".to_owned(), moved)].into();
        let action = Action::Add {
            operand: "moved".into(),
        };
        request
            .interventions
            .push(Intervention::new(target.clone(), action));
        objective(model, &request)
    };
    (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * STEP)
}

/// The relative distance of `gradient` along a random direction from the slope.
fn error(model: &Small, request: &TraceRequest, target: &Target, gradient: &Tensor) -> f64 {
    let direction = Tensor::from_vec(noise(5, gradient.len()), gradient.shape()).unwrap();
    let along: f64 = {
        let pairs = gradient
            .to_f64_vec()
            .into_iter()
            .zip(direction.to_f64_vec());
        pairs.map(|(g, d)| g * d).sum()
    };
    (along - slope(model, request, target, &direction)).abs() / along.abs().max(1e-3)
}

#[test]
fn the_gradient_at_every_hook_is_the_slope() {
    hooks_are_differentiated(&Small::new());
}

/// That the gradient at every hook is the slope there.
pub(super) fn hooks_are_differentiated(model: &Small) {
    let names = hooks(&model.spec).into_iter().map(|hook| hook.name);
    // A choice has no gradient.
    let names: Vec<String> = names
        .filter(|name| !name.ends_with("hook_expert_indices"))
        .collect();
    let gradients = names.iter().cloned().map(Quantity::HookGradient);
    let request = projected(gradients.collect());
    let values = model.all_exact(&request);
    for name in names {
        let gradient = &values[&Quantity::HookGradient(name.clone())];
        let error = error(model, &request, &Target::Hook(name.clone()), gradient);
        let of = &model.spec.architecture;
        assert!(error < 1e-8, "{of}: {name}: {error:e}");
    }
}

#[test]
fn the_gradient_by_every_checkpoint_tensor_is_the_slope() {
    parameters_are_differentiated(&Small::new());
}

/// That the gradient by every checkpoint tensor is the slope as it changes.
pub(super) fn parameters_are_differentiated(model: &Small) {
    for Parameter { name, shape } in model.source.tensors() {
        let quantity = Quantity::ParameterGradient(name.clone());
        let request = projected(vec![quantity.clone()]);
        let gradient = model.exact(&request, &quantity);
        assert_eq!(gradient.shape(), shape);
        let error = error(model, &request, &Target::Weight(name.clone()), &gradient);
        let of = &model.spec.architecture;
        assert!(error < 1e-8, "{of}: {name}: {error:e}");
    }
}

#[test]
fn the_gradient_by_every_processed_weight_is_the_slope() {
    let model = Small::new();
    for weight in spec().weights() {
        let capture = vec![Quantity::ParameterGradient(weight.name.clone())];
        let request = projected(capture).processed(Processing::compat(&spec()));
        let gradient = model.value(&request, &request.capture[0]);
        let error = error(
            &model,
            &request,
            &Target::Weight(weight.name.clone()),
            &gradient,
        );
        assert!(error < 1e-8, "{}: {error:e}", weight.name);
    }
}

#[test]
fn the_gradients_of_a_loss_and_of_a_logit_difference() {
    let model = Small::new();
    for objective in [
        Objective::Loss,
        Objective::LogitDifference {
            position: 4,
            token: 7,
            minus: 2,
        },
    ] {
        let hook = Quantity::HookGradient("blocks.0.hook_resid_pre".into());
        let request = TraceRequest {
            gradients: Some(GradientRequest {
                objective: objective.clone(),
            }),
            ..padded(Padding::Right, vec![hook.clone()])
        };
        let gradient = model.value(&request, &hook);
        let scalar = |scale: f64| {
            let direction = noise(5, gradient.len()).iter().map(|d| d * scale).collect();
            let moved = Tensor::from_vec::<f64>(direction, gradient.shape()).unwrap();
            let mut request = TraceRequest {
                gradients: None,
                ..request.clone()
            };
            request.operands = [("moved".to_owned(), moved)].into();
            let target = Target::Hook("blocks.0.hook_resid_pre".into());
            let action = Action::Add {
                operand: "moved".into(),
            };
            request.interventions = vec![Intervention::new(target, action)];
            match objective {
                Objective::Loss => model.value(&request, &Quantity::Loss).to_f64_vec()[0],
                _ => {
                    let logits = model.value(&request, &Quantity::Logits).to_f64_vec();
                    let at = |row: usize, token: usize| logits[(row * 6 + 4) * D_VOCAB + token];
                    (0..2).map(|row| at(row, 7) - at(row, 2)).sum()
                }
            }
        };
        let slope = (8.0 * (scalar(STEP) - scalar(-STEP))
            - (scalar(2.0 * STEP) - scalar(-2.0 * STEP)))
            / (12.0 * STEP);
        let along: f64 = gradient
            .to_f64_vec()
            .iter()
            .zip(noise(5, gradient.len()))
            .map(|(g, d)| g * d)
            .sum();
        assert!(
            (along - slope).abs() < 1e-8 * along.abs().max(1e-2),
            "{objective:?}: {along} {slope}"
        );
    }
}

#[test]
fn asking_for_the_inputs_of_heads_leaves_all_other_gradients_alone() {
    let model = Small::new();
    let others = [
        Quantity::HookGradient("blocks.1.ln1.hook_normalized".into()),
        Quantity::HookGradient("blocks.1.hook_resid_pre".into()),
        Quantity::ParameterGradient("h.1.ln1.w".into()),
        Quantity::ParameterGradient("h.1.ln1.b".into()),
        Quantity::ParameterGradient("h.1.qkv.w".into()),
    ];
    let gated = [
        "hook_attn_in",
        "hook_q_input",
        "hook_k_input",
        "hook_v_input",
    ];
    let gated = gated.map(|name| Quantity::HookGradient(format!("blocks.1.{name}")));
    let together = model.ask(&projected([&others[..], &gated[..]].concat()));
    for other in &others {
        let alone = model.value(&projected(Vec::new()), other);
        let error = distance(together.value(other).unwrap(), &alone);
        assert!(error < 1e-14, "{other}: {error:e}");
    }
}

#[test]
fn an_edited_gradient_is_what_those_before_the_hook_get() {
    let model = Small::new();
    let name = "blocks.1.hook_resid_pre";
    let (here, before) = (
        Quantity::HookGradient(name.into()),
        Quantity::HookGradient("blocks.0.hook_mlp_out".into()),
    );
    let request = projected(vec![here.clone(), before.clone()]);
    let plain = model.ask(&request);
    let mut edited = request;
    let target = Target::HookGradient(name.into());
    edited.interventions = vec![Intervention::new(target, Action::Scale { factor: 3.0 })];
    let edited = model.ask(&edited);
    assert_eq!(edited.value(&here), plain.value(&here));
    let tripled = plain
        .value(&before)
        .unwrap()
        .to_f64_vec()
        .iter()
        .map(|g| 3.0 * g)
        .collect();
    let shape = plain.value(&before).unwrap().shape();
    let tripled = Tensor::from_vec::<f64>(tripled, shape).unwrap();
    assert!(distance(edited.value(&before).unwrap(), &tripled) < 1e-14);
}

#[test]
fn where_nothing_depends_on_a_value_its_gradient_is_zero() {
    let model = Small::new();
    let before = Quantity::HookGradient("blocks.0.attn.hook_z".into());
    let mut request = projected(vec![before.clone()]);
    let target = Target::Hook("blocks.0.hook_attn_out".into());
    request.interventions = vec![Intervention::new(target, Action::Zero)];
    assert!(
        model
            .value(&request, &before)
            .to_f64_vec()
            .iter()
            .all(|&g| g == 0.0)
    );
}

#[test]
fn parameters_that_are_asked_for_one_by_one_get_what_all_get_at_once() {
    let model = Small::new();
    let names = model.source.tensors().into_iter().map(|one| one.name);
    let quantities: Vec<Quantity> = names.map(Quantity::ParameterGradient).collect();
    let another = |request: TraceRequest| TraceRequest {
        gradients: Some(GradientRequest {
            objective: Objective::Loss,
        }),
        ..request
    };
    let ask: [&dyn Fn(TraceRequest) -> TraceRequest; 2] = [&std::convert::identity, &another];
    let at_once = ask.map(|ask| Small::new().all_exact(&ask(projected(quantities.clone()))));
    for (index, quantity) in quantities.iter().enumerate() {
        // Now and then, somebody asks something else in between.
        for which in [0, usize::from(index % 3 == 2)] {
            let request = ask[which](projected(vec![quantity.clone()]));
            let alone = model.exact(&request, quantity);
            assert_eq!(alone, at_once[which][quantity], "{quantity}");
        }
    }
}
