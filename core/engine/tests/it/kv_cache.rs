//! A cache belongs to whoever made it.

use tlbench_engine::KvCache;
use tlbench_sdk::{DType, Padding, Tensor, TraceRequest};

use crate::model::{D_HEAD, HEADS, Small, ask, hook, largest_difference, logits};

const ROW: [i64; 6] = [3, 1, 4, 22, 5, 9];

/// The positions in `range` of `request`.
fn part(request: &TraceRequest, range: std::ops::Range<usize>) -> TraceRequest {
    let mut part = request.clone();
    for tensor in part.inputs.values_mut() {
        let values = tensor.as_slice::<i64>().unwrap().chunks(tensor.shape()[1]);
        let values: Vec<i64> = values.flat_map(|row| row[range.clone()].to_vec()).collect();
        *tensor = Tensor::from_vec(values, &[tensor.shape()[0], range.len()]).unwrap();
    }
    part
}

#[test]
fn it_holds_what_the_hooks_showed_and_grows() {
    let bridge = Small::new().bridge(DType::F64);
    let names = ["blocks.1.attn.hook_k", "blocks.1.attn.hook_v"];
    let whole = ask(&[ROW.to_vec(), vec![7, 8]], Padding::Left, &names);
    let expected = bridge.run(&whole).unwrap();
    let mut cache = KvCache::new();
    assert!(cache.is_empty() && cache.past_keys(1).unwrap().is_none());
    for (range, len) in [(0..3, 3), (3..4, 4), (4..6, 6)] {
        bridge
            .run_with_past_kv_cache(&part(&whole, range), &mut cache)
            .unwrap();
        assert_eq!(cache.len(), len);
    }
    let keys = cache.past_keys(1).unwrap().unwrap();
    assert_eq!(keys.shape(), [2, ROW.len(), HEADS, D_HEAD]);
    for (cached, name) in [
        (keys, names[0]),
        (cache.past_values(1).unwrap().unwrap(), names[1]),
    ] {
        let shown = hook(&expected, name).to_f64_vec();
        assert!(
            largest_difference(&cached.to_f64_vec(), &shown) < 1e-12,
            "{name}"
        );
    }
    let mask = cache.previous_attention_mask().unwrap();
    assert_eq!(mask, whole.inputs["attention_mask"]);
    assert!(cache.past_keys(2).unwrap().is_none());
}

#[test]
fn a_run_with_a_past_may_be_in_pieces_too() {
    let bridge = Small::new().bridge(DType::F64);
    let name = "blocks.0.attn.hook_pattern";
    let whole = ask(&[ROW.to_vec()], Padding::Right, &[name]);
    let rest = |chunks: Vec<usize>| {
        let mut cache = KvCache::new();
        bridge
            .run_with_past_kv_cache(&part(&whole, 0..2), &mut cache)
            .unwrap();
        let rest = TraceRequest {
            chunks,
            ..part(&whole, 2..6)
        };
        bridge.run_with_past_kv_cache(&rest, &mut cache).unwrap()
    };
    let (at_once, in_pieces) = (rest(vec![]), rest(vec![1, 3]));
    let [a, b] = [&at_once, &in_pieces].map(|trace| hook(trace, name));
    assert_eq!(a.shape(), [1, HEADS, 4, 6]);
    assert!(largest_difference(&a.to_f64_vec(), &b.to_f64_vec()) < 1e-12);
    assert!(largest_difference(&logits(&at_once), &logits(&in_pieces)) < 1e-12);
}

#[test]
fn a_run_that_fails_adds_nothing() {
    let bridge = Small::new().bridge(DType::F64);
    let whole = ask(&[ROW.to_vec()], Padding::Right, &[]);
    let mut cache = KvCache::new();
    bridge
        .run_with_past_kv_cache(&part(&whole, 0..4), &mut cache)
        .unwrap();
    let before = cache.past_values(0).unwrap();
    let mut fails = part(&whole, 4..6);
    let operand = "delta".to_owned();
    let edit = tlbench_sdk::Action::Add { operand };
    let target = tlbench_sdk::Target::Hook("unembed.hook_in".into());
    fails
        .interventions
        .push(tlbench_sdk::Intervention::new(target, edit));
    bridge
        .run_with_past_kv_cache(&fails, &mut cache)
        .unwrap_err();
    assert_eq!(cache.past_values(0).unwrap(), before);
    let end = bridge
        .run_with_past_kv_cache(&part(&whole, 4..6), &mut cache)
        .unwrap();
    let expected = logits(&bridge.run(&whole).unwrap());
    let end = logits(&end);
    let tail = &expected[expected.len() - end.len()..];
    assert!(largest_difference(&end, tail) < 1e-12);
}

#[test]
fn a_cache_of_another_batch_or_model_is_refused() {
    let small = Small::new();
    let bridge = small.bridge(DType::F32);
    let request = ask(&[ROW[..2].to_vec()], Padding::Right, &[]);
    let two = ask(
        &[ROW[..2].to_vec(), ROW[2..4].to_vec()],
        Padding::Right,
        &[],
    );
    let mut cache = KvCache::new();
    bridge.run_with_past_kv_cache(&request, &mut cache).unwrap();
    let mut generate = request.clone();
    generate.generate = Some(crate::generation::greedy(1));
    let messages = [
        bridge.run_with_past_kv_cache(&two, &mut cache),
        small
            .bridge(DType::F64)
            .run_with_past_kv_cache(&request, &mut cache),
        bridge.run_with_past_kv_cache(&generate, &mut cache),
    ]
    .map(|answer| answer.unwrap_err().to_string());
    insta::assert_snapshot!(messages.join("\n"));
}
