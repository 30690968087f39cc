//! What each feature of a family computes, and that all of its hooks take part.

use tlbench_engine::Bridge;
use tlbench_sdk::{
    Action, DType, GradientRequest, HookPoint, Intervention, Objective, Padding, Quantity, Target,
    Tensor, hooks,
};

use crate::features::{FEATURES, LIMIT, spec_with};
use crate::gradients::{every_hook, every_parameter};
use crate::model::{Small, ask, hook, largest_difference, logits, random};

const ROWS: [[i64; 5]; 2] = [[3, 1, 4, 22, 5], [9, 2, 6, 7, 20]];

fn features() -> impl Iterator<Item = (&'static str, Small)> {
    let names = FEATURES.iter().map(|(name, _)| *name);
    names.map(|name| (name, Small::of(spec_with(name))))
}

fn rows() -> Vec<Vec<i64>> {
    ROWS.map(Vec::from).to_vec()
}

/// The values at these hooks of the model with the feature of that name.
fn values<const N: usize>(feature: &str, names: [&str; N]) -> [Vec<f64>; N] {
    let bridge = Small::of(spec_with(feature)).bridge(DType::F64);
    let trace = bridge.run(&ask(&rows(), Padding::Right, &names)).unwrap();
    names.map(|name| hook(&trace, name).to_f64_vec())
}

fn weight(feature: &str, name: &str) -> Vec<f64> {
    let bridge = Small::of(spec_with(feature)).bridge(DType::F64);
    bridge.weights().get(name).unwrap().to_f64_vec()
}

fn sum(parts: &[&[f64]]) -> Vec<f64> {
    (0..parts[0].len())
        .map(|index| parts.iter().map(|part| part[index]).sum())
        .collect()
}

#[track_caller]
fn same(a: &[f64], b: &[f64]) {
    let error = largest_difference(a, b);
    assert!(error < 1e-13, "{error}");
}

#[test]
fn every_hook_of_every_feature_fires_with_the_shape_that_the_spec_says() {
    for (feature, small) in features() {
        let points = hooks(&small.spec);
        let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
        let bridge = small.bridge(DType::F32);
        let trace = bridge.run(&ask(&rows(), Padding::Left, &names)).unwrap();
        for point in &points {
            let value = hook(&trace, &point.name);
            assert_eq!(
                value.shape(),
                point.sizes(2, 5),
                "{feature}: {}",
                point.name
            );
        }
    }
}

fn shown(bridge: &Bridge, name: &str) -> Vec<f64> {
    let trace = bridge.run(&ask(&rows(), Padding::Right, &[name])).unwrap();
    hook(&trace, name).to_f64_vec()
}

/// The logits after `action` at a hook.
fn edited(small: &Small, point: &HookPoint, action: Action) -> Vec<f64> {
    let mut request = ask(&rows(), Padding::Right, &[]);
    let shape = point.sizes(2, 5);
    let delta = random(point.order as u64 + 77, shape.iter().product());
    let delta = delta.into_iter().map(|value| 0.1 * value).collect();
    let delta = Tensor::from_vec(delta, &shape).unwrap();
    request.operands.insert("delta".into(), delta);
    let target = Target::Hook(point.name.clone());
    request
        .interventions
        .push(Intervention::new(target, action));
    logits(&small.bridge(DType::F64).run(&request).unwrap())
}

#[test]
fn an_edit_at_any_hook_of_any_feature_changes_the_logits_and_one_that_adds_nothing_does_not() {
    for (feature, small) in features() {
        let bridge = small.bridge(DType::F64);
        let before = logits(&bridge.run(&ask(&rows(), Padding::Right, &[])).unwrap());
        for point in hooks(&small.spec) {
            let name = &point.name;
            let same = edited(&small, &point, Action::Scale { factor: 1.0 });
            let change = largest_difference(&before, &same);
            assert!(change < 1e-12, "{feature}: {name} by {change}");
            if point.holds_integers() {
                continue;
            }
            let add = Action::Add {
                operand: "delta".into(),
            };
            let change = largest_difference(&before, &edited(&small, &point, add));
            let is_idle = shown(&bridge, name).iter().all(|value| *value == 0.0);
            assert_eq!(change > 1e-7, !is_idle, "{feature}: {name} by {change}");
            assert!(!is_idle || name.contains(".experts."), "{feature}: {name}");
        }
    }
}

#[test]
fn in_narrow_types_every_feature_stays_near_the_truth_and_shows_values_of_the_type() {
    for (feature, small) in features() {
        let request = ask(&rows(), Padding::Right, &["blocks.1.hook_mlp_out"]);
        let truth = small.bridge(DType::F64).run(&request).unwrap();
        let truth = logits(&truth);
        for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::F16, 0.1), (DType::BF16, 0.6)] {
            let trace = small.bridge(dtype).run(&request).unwrap();
            let error = largest_difference(&truth, &logits(&trace));
            assert!(error < tolerance, "{feature} in {dtype}: {error}");
            let rounded = |value: f64| match dtype {
                DType::BF16 => half::bf16::from_f64(value).to_f64(),
                DType::F16 => half::f16::from_f64(value).to_f64(),
                _ => value,
            };
            for quantity in [Quantity::hook("blocks.1.hook_mlp_out"), Quantity::Logits] {
                let values = trace.value(&quantity).unwrap().to_f64_vec();
                let stored: Vec<f64> = values.iter().copied().map(rounded).collect();
                assert_eq!(values, stored, "{feature} in {dtype}: {quantity}");
            }
        }
    }
}

#[test]
fn set_to_its_own_values_every_feature_computes_them_again() {
    for (feature, small) in features() {
        let points = hooks(&small.spec);
        let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
        let (request, bridge) = (
            ask(&rows(), Padding::Right, &names),
            small.bridge(DType::F64),
        );
        let truth = bridge.run(&request).unwrap();
        // Copies per head are set by nobody: what follows would be computed from them.
        let fixed = points.iter().filter(|point| point.gate.is_none());
        let fixed = fixed.map(|point| (point.name.clone(), hook(&truth, &point.name)));
        let local = bridge.run(&request.clone().local(fixed.collect())).unwrap();
        for name in names {
            let pairs = [&truth, &local].map(|trace| hook(trace, name).to_f64_vec());
            let pairs = pairs[0].iter().zip(&pairs[1]);
            let error = pairs.filter(|(value, _)| value.is_finite());
            let error = error.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-12, "{feature}: {name} by {error}");
        }
    }
}

#[test]
fn in_narrow_types_every_hook_and_parameter_of_every_feature_has_a_gradient() {
    for (feature, small) in features() {
        for dtype in [DType::BF16, DType::F16] {
            let mut request = ask(&rows(), Padding::Left, &[]);
            let objective = Objective::Projection { seed: 5 };
            request.gradients = Some(GradientRequest { objective });
            request.capture = every_hook(&small.spec);
            request.capture.extend(every_parameter(&small.spec));
            let trace = small.bridge(dtype).run(&request).unwrap();
            for quantity in &request.capture {
                let gradient = trace.value(quantity).unwrap().to_f64_vec();
                let is_finite = gradient.iter().all(|value| value.is_finite());
                assert!(is_finite, "{feature} in {dtype}: {quantity}");
            }
        }
    }
}

#[test]
fn each_branch_adds_to_the_stream_what_its_hook_shows() {
    for feature in ["norms on both sides", "scaled branches", "gated"] {
        let [pre, attn, mid, mlp, post] = values(
            feature,
            [
                "blocks.1.hook_resid_pre",
                "blocks.1.hook_attn_out",
                "blocks.1.hook_resid_mid",
                "blocks.1.hook_mlp_out",
                "blocks.1.hook_resid_post",
            ],
        );
        same(&mid, &sum(&[&pre, &attn]));
        same(&post, &sum(&[&mid, &mlp]));
    }
    for feature in ["side by side", "side by side behind one norm"] {
        let [pre, attn, mlp, post, mlp_in] = values(
            feature,
            [
                "blocks.1.hook_resid_pre",
                "blocks.1.hook_attn_out",
                "blocks.1.hook_mlp_out",
                "blocks.1.hook_resid_post",
                "blocks.1.hook_mlp_in",
            ],
        );
        same(&post, &sum(&[&pre, &attn, &mlp]));
        assert_eq!(mlp_in, pre);
    }
}

/// `normalized * gain + bias`, row by row.
fn through(norm: [Vec<f64>; 2], normalized: &[f64]) -> Vec<f64> {
    let [gain, bias] = norm;
    let channel = |index: usize| (gain[index % gain.len()], bias[index % gain.len()]);
    let values = normalized.iter().enumerate();
    values
        .map(|(index, value)| value * channel(index).0 + channel(index).1)
        .collect()
}

#[test]
fn a_branch_may_add_to_what_its_norm_gives() {
    let feature = "added to what the norm gives";
    for (norm, out, after) in [
        ("ln1", "hook_attn_out", "hook_resid_mid"),
        ("ln2", "hook_mlp_out", "hook_resid_post"),
    ] {
        let name = |hook: &str| format!("blocks.1.{hook}");
        let normalized = name(&format!("{norm}.hook_normalized"));
        let [normalized, out, after] =
            values(feature, [normalized.as_str(), &name(out), &name(after)]);
        let parts = ["w", "b"].map(|part| weight(feature, &name(&format!("{norm}.{part}"))));
        same(&after, &sum(&[&through(parts, &normalized), &out]));
    }
}

#[test]
fn a_norm_of_the_sum_leaves_rows_of_the_gain_and_bias_alone() {
    let feature = "norms of the sums";
    let [after] = values(feature, ["blocks.0.hook_resid_mid"]);
    let [gain, bias] = ["w", "b"].map(|part| weight(feature, &format!("blocks.0.ln1_sum.{part}")));
    for row in after.chunks(gain.len()) {
        let normalized = row
            .iter()
            .zip(gain.iter().zip(&bias))
            .map(|(v, (g, b))| (v - b) / g);
        let normalized: Vec<f64> = normalized.collect();
        let mean = normalized.iter().sum::<f64>() / normalized.len() as f64;
        let square = normalized.iter().map(|v| v * v).sum::<f64>() / normalized.len() as f64;
        assert!(
            mean.abs() < 1e-12 && (square - 1.0).abs() < 1e-3,
            "{mean}, {square}"
        );
    }
}

#[test]
fn an_offset_norm_of_the_output_multiplies_by_1_and_the_stored_gain() {
    let feature = "norms on both sides";
    let [normalized, out] = values(
        feature,
        ["blocks.0.ln2_post.hook_normalized", "blocks.0.hook_mlp_out"],
    );
    let weights = Small::of(spec_with(feature));
    let stored = weights.weights().read_f64("h.0.mlp_out.w").unwrap();
    let gain = stored.iter().map(|gain| 1.0 + gain).collect();
    same(&out, &through([gain, vec![0.0; stored.len()]], &normalized));
}

#[test]
fn a_gate_multiplies_what_it_lets_through() {
    let names =
        ["hook_pre", "hook_pre_linear", "hook_post"].map(|part| format!("blocks.0.mlp.{part}"));
    let at = |feature| values(feature, names.each_ref().map(String::as_str));
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let [gate, up, post] = at("gated");
    let expected: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| silu(*g) * u).collect();
    same(&post, &expected);
    let [gate, up, post] = at("gated and clamped");
    let clamped = |(gate, up): (&f64, &f64)| {
        let (gate, up) = (gate.min(LIMIT), up.clamp(-LIMIT, LIMIT));
        (up + 1.0) * gate / (1.0 + (-1.702 * gate).exp())
    };
    assert!(gate.iter().any(|gate| *gate > LIMIT) && up.iter().any(|up| *up < -LIMIT));
    let expected: Vec<f64> = gate.iter().zip(&up).map(clamped).collect();
    same(&post, &expected);
}

#[test]
fn the_embedding_is_scaled_by_the_factor_rounded_to_the_weights() {
    let feature = "a scaled embedding";
    let table = weight(feature, "embed.W_E");
    let d_model = crate::model::D_MODEL;
    let small = Small::of(spec_with(feature));
    let request = ask(&rows(), Padding::Right, &["hook_embed"]);
    // As `torch.tensor(12 ** 0.5).to(dtype)` has them.
    for (dtype, factor) in [(DType::F64, 12_f64.sqrt()), (DType::BF16, 3.468_75)] {
        let trace = small.bridge(dtype).run(&request).unwrap();
        let found = hook(&trace, "hook_embed").to_f64_vec();
        for (index, found) in found.iter().enumerate() {
            let token = ROWS.concat()[index / d_model] as usize;
            let stored = table[token * d_model + index % d_model];
            let expected = match dtype {
                DType::BF16 => {
                    let stored = half::bf16::from_f64(stored).to_f64();
                    half::bf16::from_f64(stored * factor).to_f64()
                }
                _ => stored * factor,
            };
            assert_eq!(*found, expected);
        }
    }
}

#[test]
fn a_normed_embedding_is_what_the_hook_shows() {
    let feature = "a normed embedding";
    let [normalized, embed] = values(feature, ["embed.ln.hook_normalized", "hook_embed"]);
    let parts = ["w", "b"].map(|part| weight(feature, &format!("embed.ln.{part}")));
    same(&embed, &through(parts, &normalized));
}

#[test]
fn logits_are_scaled_and_then_capped_before_their_hook() {
    let [out] = values("scaled and capped logits", ["unembed.hook_out"]);
    let small = Small::new();
    let plain = small
        .bridge(DType::F64)
        .run(&ask(&rows(), Padding::Right, &[]))
        .unwrap();
    let capped = |logit: &f64| 3.0 * (logit * 0.4 / 3.0).tanh();
    same(
        &out,
        &logits(&plain).iter().map(capped).collect::<Vec<f64>>(),
    );
}

/// An edit of the MLP's copy of the stream, beside one of a head's copy: the norm is shared, the copies are not.
#[test]
fn a_copy_of_the_stream_behind_a_shared_norm_is_normed_on_its_own() {
    let small = Small::of(spec_with("side by side behind one norm"));
    let bridge = small.bridge(DType::F64);
    let names = ["blocks.0.hook_attn_out", "blocks.0.hook_mlp_out"];
    let run = |edits: &[&str]| {
        let mut request = ask(&rows(), Padding::Right, &names);
        request.interventions = edits
            .iter()
            .map(|edit| {
                Intervention::new(Target::Hook((*edit).into()), Action::Scale { factor: -2.0 })
            })
            .collect();
        let trace = bridge.run(&request).unwrap();
        names.map(|name| hook(&trace, name).to_f64_vec())
    };
    let ([attn, mlp], inputs) = (run(&[]), ["blocks.0.hook_mlp_in", "blocks.0.hook_q_input"]);
    let [by_mlp, by_head, by_both] = [&inputs[..1], &inputs[1..], &inputs[..]].map(run);
    same(&attn, &by_mlp[0]);
    assert!(largest_difference(&mlp, &by_mlp[1]) > 1e-3);
    assert!(largest_difference(&attn, &by_head[0]) > 1e-3);
    same(&mlp, &by_head[1]);
    same(&by_both[0], &by_head[0]);
    same(&by_both[1], &by_mlp[1]);
}
