//! Edits on the way back, and what edits on the way forward do to gradients.

use tlbench_sdk::{
    Action, DType, GradientRequest, Intervention, Objective, Padding, Quantity, Target, Tensor,
    TraceRequest, hooks, noise,
};

use super::{OBJECTIVES, gradient, gradient_request, norm, rows};
use crate::model::{Small, ask, largest_difference, logits};

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
