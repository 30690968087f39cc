//! Every hook fires, is of the shape that the spec says, can be edited, and can be set to the truth.

use tlbench_sdk::{
    Action, DType, Dim, Evaluation, HookPoint, Intervention, Padding, Quantity, Target, Tensor,
    hooks,
};

use crate::model::{Small, ask, hook, largest_difference, logits, random};

const ROW: [i64; 5] = [3, 1, 4, 22, 5];

pub(crate) fn shape_of(point: &HookPoint, batch: usize, pos: usize) -> Vec<usize> {
    let size = |dim: &Dim| match dim {
        Dim::Batch => batch,
        Dim::Pos | Dim::KeyPos => pos,
        Dim::One => 1,
        Dim::Size { size, .. } => *size,
    };
    point.shape.iter().map(size).collect()
}

fn edit(hook: &str, action: Action) -> Intervention {
    Intervention {
        target: Target::Hook(hook.into()),
        rows: None,
        positions: None,
        action,
    }
}

#[test]
fn every_hook_fires_with_the_shape_that_the_spec_says() {
    let small = Small::new();
    let points = hooks(&small.spec);
    assert_eq!(points.len(), 23 * 2 + 6);
    assert_eq!(
        points.iter().filter(|point| point.gate.is_none()).count(),
        17 * 2 + 6
    );
    let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
    let trace = small
        .bridge(DType::F32)
        .run(&ask(&[ROW.to_vec(), vec![1, 2]], Padding::Left, &names))
        .unwrap();
    for point in &points {
        assert_eq!(
            hook(&trace, &point.name).shape(),
            shape_of(point, 2, ROW.len()),
            "{}",
            point.name
        );
    }
}

#[test]
fn an_edit_at_any_hook_changes_the_logits() {
    let small = Small::new();
    let bridge = small.bridge(DType::F64);
    let before = logits(
        &bridge
            .run(&ask(&[ROW.to_vec()], Padding::Right, &[]))
            .unwrap(),
    );
    for (seed, point) in hooks(&small.spec).iter().enumerate() {
        let mut request = ask(&[ROW.to_vec()], Padding::Right, &[]);
        let shape = shape_of(point, 1, ROW.len());
        let delta = random(seed as u64 + 77, shape.iter().product())
            .into_iter()
            .map(|v| 0.1 * v)
            .collect();
        request
            .operands
            .insert("delta".into(), Tensor::from_vec(delta, &shape).unwrap());
        request.interventions.push(edit(
            &point.name,
            Action::Add {
                operand: "delta".into(),
            },
        ));
        let after = logits(&bridge.run(&request).unwrap());
        assert!(
            largest_difference(&before, &after) > 1e-6,
            "{} is decorative",
            point.name
        );
    }
}

#[test]
fn adding_nothing_changes_nothing_also_where_the_computation_takes_another_path() {
    let small = Small::new();
    let bridge = small.bridge(DType::F64);
    let before = logits(
        &bridge
            .run(&ask(&[ROW.to_vec()], Padding::Right, &[]))
            .unwrap(),
    );
    for point in hooks(&small.spec) {
        let mut request = ask(&[ROW.to_vec()], Padding::Right, &[]);
        request
            .interventions
            .push(edit(&point.name, Action::Scale { factor: 1.0 }));
        let after = logits(&bridge.run(&request).unwrap());
        assert!(
            largest_difference(&before, &after) < 1e-12,
            "{}",
            point.name
        );
    }
}

#[test]
fn an_edit_of_one_position_leaves_the_others_alone() {
    let name = "blocks.0.hook_resid_pre";
    let bridge = Small::new().bridge(DType::F64);
    let mut request = ask(
        &[ROW.to_vec(), ROW.to_vec()],
        Padding::Right,
        &["blocks.0.ln1.hook_scale"],
    );
    let before = hook(&bridge.run(&request).unwrap(), "blocks.0.ln1.hook_scale").to_f64_vec();
    let mut zero = edit(name, Action::Zero);
    (zero.rows, zero.positions) = (Some(vec![1]), Some(vec![2]));
    request.interventions.push(zero);
    let after = hook(&bridge.run(&request).unwrap(), "blocks.0.ln1.hook_scale").to_f64_vec();
    let changed: Vec<usize> = (0..before.len())
        .filter(|&i| before[i] != after[i])
        .collect();
    assert_eq!(changed, [ROW.len() + 2]);
}

#[test]
fn an_edit_at_any_hook_keeps_to_its_row_and_position() {
    let small = Small::new();
    let bridge = small.bridge(DType::F64);
    let mut request = ask(&[ROW.to_vec(), ROW.to_vec()], Padding::Right, &[]);
    let before = logits(&bridge.run(&request).unwrap());
    let width = before.len() / (2 * ROW.len());
    for point in hooks(&small.spec) {
        let scale = edit(&point.name, Action::Scale { factor: 1.5 });
        request.interventions = vec![scale.at_rows([1]).at_positions([2])];
        let after = logits(&bridge.run(&request).unwrap());
        let changed: Vec<usize> = (0..2 * ROW.len())
            .filter(|token| {
                let token = token * width..(token + 1) * width;
                largest_difference(&before[token.clone()], &after[token]) > 1e-9
            })
            .collect();
        assert_eq!(changed.first(), Some(&(ROW.len() + 2)), "{}", point.name);
    }
}

#[test]
fn edits_are_made_in_their_order_and_a_capture_shows_the_value_before_them() {
    let name = "blocks.0.hook_resid_pre";
    let bridge = Small::new().bridge(DType::F64);
    let mut request = ask(
        &[ROW.to_vec()],
        Padding::Right,
        &[name, "blocks.0.hook_mlp_in"],
    );
    let before = hook(&bridge.run(&request).unwrap(), name);
    let ones = Tensor::from_vec(vec![1.0; before.len()], before.shape()).unwrap();
    request.operands.insert("ones".into(), ones);
    request.interventions.push(edit(name, Action::Zero));
    request.interventions.push(edit(
        name,
        Action::Add {
            operand: "ones".into(),
        },
    ));
    let trace = bridge.run(&request).unwrap();
    assert_eq!(hook(&trace, name), before);
    let mut replaced = ask(&[ROW.to_vec()], Padding::Right, &[]);
    replaced.operands = request.operands.clone();
    replaced.interventions.push(edit(
        name,
        Action::Replace {
            operand: "ones".into(),
        },
    ));
    assert_eq!(logits(&bridge.run(&replaced).unwrap()), logits(&trace));
}

#[test]
fn a_local_run_judges_each_component_on_the_truth() {
    let small = Small::new();
    let names: Vec<String> = hooks(&small.spec)
        .into_iter()
        .filter(|point| point.gate.is_none())
        .map(|point| point.name)
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = ask(&[ROW.to_vec()], Padding::Right, &names);
    let truth = small.bridge(DType::F64).run(&request).unwrap();
    // A mistake in block 0: its attention is doubled.
    let mut wrong = small.spec.clone();
    wrong.layers[0].attn.as_mut().unwrap().body.scale *= 2.0;
    let wrong = tlbench_engine::Bridge::open(&wrong, &small.weights(), DType::F64).unwrap();
    let hooks_of = |trace: &tlbench_sdk::Trace| {
        trace
            .values
            .iter()
            .filter_map(|(q, t)| Some((q.as_hook()?.to_owned(), t.clone())))
            .collect()
    };
    let local = wrong.run(&request.clone().local(hooks_of(&truth))).unwrap();
    let off: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| {
            let (a, b) = (
                hook(&truth, name).to_f64_vec(),
                hook(&local, name).to_f64_vec(),
            );
            a.iter()
                .zip(&b)
                .any(|(a, b)| a.is_finite() && (a - b).abs() > 1e-12)
        })
        .collect();
    assert_eq!(off, ["blocks.0.attn.hook_attn_scores"]);
    assert_eq!(request.evaluation, Evaluation::Cumulative);
    let cumulative = wrong.run(&request).unwrap();
    assert!(largest_difference(&logits(&truth), &logits(&cumulative)) > 1e-6);
    assert!(largest_difference(&logits(&truth), &logits(&local)) < 1e-12);
}

#[test]
fn losses_are_those_of_real_pairs() {
    let bridge = Small::new().bridge(DType::F64);
    let mut request = ask(&[ROW.to_vec(), vec![1, 2]], Padding::Left, &[]);
    request.capture = vec![Quantity::LossPerToken, Quantity::Loss, Quantity::LogProbs];
    let trace = bridge.run(&request).unwrap();
    let losses = trace.value(&Quantity::LossPerToken).unwrap();
    assert_eq!(losses.shape(), [2, ROW.len() - 1]);
    let losses = losses.to_f64_vec();
    assert_eq!(losses[4..7], [0.0; 3]);
    let real: Vec<f64> = losses.iter().copied().filter(|&loss| loss != 0.0).collect();
    assert_eq!(real.len(), 5);
    let mean = trace.value(&Quantity::Loss).unwrap().to_f64_vec()[0];
    assert!((mean - real.iter().sum::<f64>() / 5.0).abs() < 1e-12);
    let log_probs = trace.value(&Quantity::LogProbs).unwrap().to_f64_vec();
    assert!((losses[0] + log_probs[ROW[1] as usize]).abs() < 1e-12);
}

#[test]
fn an_operand_that_is_larger_than_the_value_is_refused() {
    let small = Small::new();
    let name = "blocks.0.hook_resid_pre";
    let mut request = ask(&[ROW.to_vec()], Padding::Right, &[]);
    let by = Action::Add {
        operand: "batch".into(),
    };
    request.interventions.push(edit(name, by));
    let batch = Tensor::from_vec(vec![1.0_f32; 3], &[3, 1, 1]).unwrap();
    request.operands.insert("batch".into(), batch);
    let error = small.bridge(DType::F32).run(&request).unwrap_err();
    insta::assert_snapshot!(error, @"blocks.0.hook_resid_pre: expected an operand that broadcasts to [1, 5, 12], found shape [3, 1, 1]");
}
