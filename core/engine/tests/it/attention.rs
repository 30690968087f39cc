//! Every kind of attention: what it computes, what it shows, and that a cache changes nothing.

mod features;
mod plain;

use tlbench_engine::{Bridge, KvCache};
use tlbench_sdk::spec::PositionSpec;
use tlbench_sdk::{
    Action, DType, GenerateRequest, Intervention, ModelSpec, Padding, Quantity, Sampling, Target,
    Tensor, TraceRequest, hooks,
};

use crate::hooks::shape_of;
use crate::model::{Small, ask, hook, largest_difference, logits, random};
use features::{D_HEAD, Feature, N_HEADS, N_KV_HEADS, attention, features, length_dependent};
use plain::Plain;

pub(crate) use features::features as kinds_of_attention;

const ROW: [i64; 7] = [3, 1, 4, 22, 5, 9, 2];

fn all() -> impl Iterator<Item = Feature> {
    features().into_iter().chain(length_dependent())
}

fn everything(spec: &ModelSpec, rows: &[Vec<i64>], padding: Padding) -> TraceRequest {
    let points = hooks(spec);
    let names: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
    ask(rows, padding, &names)
}

/// The positions from `start` on, of one row.
fn tail(request: &TraceRequest, start: usize, end: usize) -> TraceRequest {
    let mut part = request.clone();
    for tensor in part.inputs.values_mut() {
        let values = tensor.as_slice::<i64>().unwrap()[start..end].to_vec();
        *tensor = Tensor::from_vec(values, &[1, end - start]).unwrap();
    }
    part
}

#[test]
fn each_kind_is_what_a_plain_implementation_computes() {
    for Feature { name, spec } in features().into_iter().filter(|f| f.name != "yarn") {
        let small = Small::of(spec);
        let request = everything(&small.spec, &[ROW.to_vec()], Padding::Right);
        let trace = small.bridge(DType::F64).run(&request).unwrap();
        for layer in 0..2 {
            let gain = |letter: &str| {
                let name = format!("h.{layer}.{letter}_norm");
                let gain = small.weights().read(&name).ok();
                gain.map(|gain| gain.to_f64_vec())
            };
            let plain = Plain {
                spec: attention(&small.spec, layer),
                q_gain: gain("q"),
                k_gain: gain("k"),
            };
            let [q, k, v, z] = ["q", "k", "v", "z"]
                .map(|letter| hook(&trace, &format!("blocks.{layer}.attn.hook_{letter}")));
            let error = largest_difference(&plain.z(&q, &k, &v), &z.to_f64_vec());
            assert!(error < 1e-12, "{name}, layer {layer}: {error}");
        }
    }
}

#[test]
fn every_hook_fires_with_the_shape_that_the_spec_says() {
    for Feature { name, spec } in all() {
        let small = Small::of(spec);
        let request = everything(&small.spec, &[ROW.to_vec(), vec![1, 2]], Padding::Left);
        for dtype in [DType::F32, DType::BF16] {
            let trace = small.bridge(dtype).run(&request).unwrap();
            for point in hooks(&small.spec) {
                let value = hook(&trace, &point.name);
                let expected = shape_of(&point, 2, ROW.len());
                assert_eq!(value.shape(), expected, "{name}: {}", point.name);
            }
        }
    }
}

#[test]
fn an_edit_at_any_hook_of_attention_changes_the_logits_and_one_of_nothing_does_not() {
    for Feature { name, spec } in all() {
        let small = Small::of(spec);
        let bridge = small.bridge(DType::F64);
        let request = ask(&[ROW.to_vec()], Padding::Right, &[]);
        let before = logits(&bridge.run(&request).unwrap());
        for (seed, point) in hooks(&small.spec).iter().enumerate() {
            let after = |scale: f32| {
                let mut request = request.clone();
                let shape = shape_of(point, 1, ROW.len());
                let delta = random(seed as u64 + 77, shape.iter().product());
                let delta = delta.into_iter().map(|v| scale * v).collect();
                let delta = Tensor::from_vec(delta, &shape).unwrap();
                request.operands.insert("delta".into(), delta);
                let operand = "delta".to_owned();
                let target = Target::Hook(point.name.clone());
                let edit = Intervention::new(target, Action::Add { operand });
                request.interventions.push(edit);
                logits(&bridge.run(&request).unwrap())
            };
            let (changed, same) = (after(0.1), after(0.0));
            let at = format!("{name}: {}", point.name);
            assert!(largest_difference(&before, &changed) > 1e-7, "{at}");
            assert!(largest_difference(&before, &same) < 1e-12, "{at}");
        }
    }
}

#[test]
fn scores_are_products_of_what_the_rotation_shows_norms_after_it_included() {
    let rotated = |f: &Feature| matches!(attention(&f.spec, 0).position, PositionSpec::Rotary(_));
    for Feature { name, spec } in all().filter(rotated) {
        let small = Small::of(spec);
        let request = everything(&small.spec, &[ROW.to_vec()], Padding::Right);
        let trace = small.bridge(DType::F64).run(&request).unwrap();
        let shown = |letter| hook(&trace, &format!("blocks.0.attn.hook_{letter}")).to_f64_vec();
        let [q, k, scores] = ["rot_q", "rot_k", "attn_scores"].map(shown);
        for (index, score) in scores.iter().enumerate().filter(|(_, s)| s.is_finite()) {
            let (row, key) = (index / ROW.len(), index % ROW.len());
            let (head, query) = (row / ROW.len(), row % ROW.len());
            let q = &q[(query * N_HEADS + head) * D_HEAD..][..D_HEAD];
            let kv_head = head * N_KV_HEADS / N_HEADS;
            let k = &k[(key * N_KV_HEADS + kv_head) * D_HEAD..][..D_HEAD];
            let product: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
            let expected = attention(&small.spec, 0).scale * product;
            assert!(
                (score - expected).abs() < 1e-12,
                "{name}: {score} for {expected}"
            );
        }
    }
}

/// The largest difference of a value where both are finite; what is hidden has to be so in both.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
    assert!(
        a.iter()
            .zip(&b)
            .all(|(a, b)| a.is_finite() == b.is_finite())
    );
    let finite = |v: &[f64]| {
        v.iter()
            .map(|v| if v.is_finite() { *v } else { 0.0 })
            .collect()
    };
    let (a, b): (Vec<f64>, Vec<f64>) = (finite(&a), finite(&b));
    largest_difference(&a, &b)
}

#[test]
fn pieces_show_what_the_whole_shows_also_past_a_window() {
    for Feature { name, spec } in features() {
        let small = Small::of(spec);
        let bridge = small.bridge(DType::F64);
        let rows = [ROW.to_vec(), vec![1, 2, 8]];
        let whole = everything(&small.spec, &rows, Padding::Left);
        let expected = bridge.run(&whole).unwrap();
        for chunks in [vec![5, 1, 1], vec![1, 3, 3], vec![1; 7]] {
            let request = TraceRequest {
                chunks,
                ..whole.clone()
            };
            let pieces = bridge.run(&request).unwrap();
            for (quantity, value) in &expected.values {
                let error = difference(value, &pieces.values[quantity]);
                assert!(error < 1e-11, "{name}, {:?}, {quantity}", request.chunks);
            }
        }
    }
}

#[test]
fn tokens_are_the_same_with_a_cache_and_without() {
    for Feature { name, spec } in features() {
        let bridge = Small::of(spec).bridge(DType::F64);
        let inputs = ask(&[ROW[..4].to_vec(), vec![7]], Padding::Left, &[]).inputs;
        let [with, without] = [true, false].map(|use_cache| {
            let request = GenerateRequest {
                max_new_tokens: 5,
                stop_tokens: Vec::new(),
                use_cache,
                sampling: Sampling::Greedy,
            };
            bridge.generate(&inputs, &request).unwrap()
        });
        assert_eq!(with, without, "{name}");
    }
}

#[test]
fn padding_on_the_left_changes_no_row() {
    for Feature { name, spec } in features() {
        let bridge = Small::of(spec).bridge(DType::F64);
        let short = ROW[2..6].to_vec();
        let alone = ask(std::slice::from_ref(&short), Padding::Right, &[]);
        let alone = logits(&bridge.run(&alone).unwrap());
        let padded = ask(&[ROW.to_vec(), short], Padding::Left, &[]);
        let padded = logits(&bridge.run(&padded).unwrap());
        let padded = &padded[padded.len() - alone.len()..];
        assert!(largest_difference(&alone, padded) < 1e-12, "{name}");
    }
}

#[test]
fn keys_are_cached_as_they_were_rotated_and_shown_with_those_of_the_past() {
    let name = "blocks.1.attn.hook_rot_k";
    for Feature { name: kind, spec } in all() {
        let PositionSpec::Rotary(_) = attention(&spec, 1).position else {
            continue;
        };
        let bridge = Small::of(spec).bridge(DType::F64);
        let whole = ask(&[ROW.to_vec()], Padding::Right, &[name]);
        let mut cache = KvCache::new();
        let run = |start, end, cache: &mut KvCache| {
            let trace = bridge.run_with_past_kv_cache(&tail(&whole, start, end), cache);
            hook(&trace.unwrap(), name)
        };
        let first = run(0, 4, &mut cache);
        let all = run(4, 7, &mut cache);
        assert_eq!(all.shape()[..3], [1, ROW.len(), N_KV_HEADS], "{kind}");
        let kept = &all.to_f64_vec()[..first.len()];
        assert_eq!(kept, first.to_f64_vec(), "{kind}");
        assert_eq!(cache.past_keys(1).unwrap().unwrap(), all, "{kind}");
    }
}

/// The scores of the first layer, whose queries and keys a cache cannot change, at the last position.
fn last_scores(bridge: &Bridge, starts: &[usize]) -> Vec<f64> {
    let name = "blocks.0.attn.hook_attn_scores";
    let whole = ask(&[ROW.to_vec()], Padding::Right, &[name]);
    let mut cache = KvCache::new();
    let ends = starts.iter().skip(1).copied().chain([ROW.len()]);
    let runs = starts.iter().zip(ends).map(|(&start, end)| {
        let part = tail(&whole, start, end);
        bridge.run_with_past_kv_cache(&part, &mut cache).unwrap()
    });
    let scores = hook(&runs.last().unwrap(), name).to_f64_vec();
    scores[scores.len() - ROW.len()..].to_vec()
}

#[test]
fn where_angles_depend_on_the_length_a_cache_keeps_those_of_its_time() {
    for Feature { name, spec } in length_dependent() {
        let bridge = Small::of(spec).bridge(DType::F64);
        let whole = last_scores(&bridge, &[0]);
        let cached = last_scores(&bridge, &[0, 4]);
        // The keys of the original context were rotated by the angles of a short call, those after it by a long one's.
        assert!(
            largest_difference(&whole[..4], &cached[..4]) > 1e-3,
            "{name}"
        );
        assert!(
            largest_difference(&whole[4..], &cached[4..]) < 1e-12,
            "{name}"
        );
    }
}

#[test]
fn all_of_what_a_narrow_type_stores_it_holds() {
    for Feature { name, spec } in all() {
        let small = Small::of(spec);
        let request = everything(&small.spec, &[ROW.to_vec()], Padding::Right);
        let trace = small.bridge(DType::BF16).run(&request).unwrap();
        for (quantity, value) in &trace.values {
            // What one operation keeps to itself is shown as it is computed.
            let is_stored =
                |name: &str| !name.ends_with("_scale") && !name.ends_with("_normalized");
            if let Quantity::Hook(hook) = quantity
                && is_stored(hook)
            {
                let stored = |v: &f64| half::bf16::from_f64(*v).to_f64() == *v;
                assert!(value.to_f64_vec().iter().all(stored), "{name}: {hook}");
            }
        }
    }
}
