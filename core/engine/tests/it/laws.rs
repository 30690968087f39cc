//! Identities that hold without any reference.

use half::{bf16, f16};
use tlbench_engine::Arithmetic;
use tlbench_sdk::{DType, Padding, Tensor};

use crate::model::{D_HEAD, D_MODEL, HEADS, Small, ask, hook, largest_difference, logits};

const ROW: [i64; 6] = [3, 1, 4, 22, 5, 9];

fn sum(a: &Tensor, b: &Tensor) -> Vec<f64> {
    a.to_f64_vec()
        .iter()
        .zip(b.to_f64_vec())
        .map(|(a, b)| a + b)
        .collect()
}

#[test]
fn the_stream_is_the_sum_of_what_is_written_to_it() {
    let names = [
        "hook_embed",
        "hook_pos_embed",
        "blocks.0.hook_resid_pre",
        "blocks.0.hook_attn_out",
        "blocks.0.hook_resid_mid",
        "blocks.0.hook_mlp_out",
        "blocks.0.hook_resid_post",
        "blocks.1.hook_resid_pre",
    ];
    let trace = Small::new()
        .bridge(DType::F64)
        .run(&ask(&[ROW.to_vec()], Padding::Right, &names))
        .unwrap();
    let [embed, pos, pre, attn, mid, mlp, post, next] = names.map(|name| hook(&trace, name));
    assert_eq!(sum(&embed, &pos), pre.to_f64_vec());
    assert_eq!(sum(&pre, &attn), mid.to_f64_vec());
    assert_eq!(sum(&mid, &mlp), post.to_f64_vec());
    assert_eq!(post, next);
}

#[test]
fn the_results_of_the_heads_and_the_bias_sum_to_the_attention() {
    let small = Small::new();
    let names = ["blocks.1.attn.hook_result", "blocks.1.hook_attn_out"];
    let trace = small
        .bridge(DType::F64)
        .run(&ask(&[ROW.to_vec()], Padding::Right, &names))
        .unwrap();
    let bias = small.weights().read("h.1.o.b").unwrap().to_f64_vec();
    let result = hook(&trace, names[0]);
    assert_eq!(result.shape(), [1, ROW.len(), HEADS, D_MODEL]);
    let summed: Vec<f64> = result
        .to_f64_vec()
        .chunks(HEADS * D_MODEL)
        .flat_map(|heads| {
            (0..D_MODEL)
                .map(|d| (0..HEADS).map(|h| heads[h * D_MODEL + d]).sum::<f64>() + bias[d])
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(largest_difference(&summed, &hook(&trace, names[1]).to_f64_vec()) < 1e-12);
}

#[test]
fn patterns_are_causal_and_sum_to_one() {
    let name = "blocks.0.attn.hook_pattern";
    let trace = Small::new()
        .bridge(DType::F64)
        .run(&ask(&[ROW.to_vec()], Padding::Right, &[name]))
        .unwrap();
    for (index, row) in hook(&trace, name)
        .to_f64_vec()
        .chunks(ROW.len())
        .enumerate()
    {
        let query = index % ROW.len();
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(row[query + 1..].iter().all(|&weight| weight == 0.0));
    }
}

#[test]
fn later_tokens_change_nothing_before_them() {
    let bridge = Small::new().bridge(DType::F64);
    let run = |row: &[i64]| {
        logits(
            &bridge
                .run(&ask(&[row.to_vec()], Padding::Right, &[]))
                .unwrap(),
        )
    };
    let (whole, prefix) = (run(&ROW), run(&ROW[..4]));
    assert!(largest_difference(&whole[..prefix.len()], &prefix) < 1e-12);
}

#[test]
fn a_padded_row_equals_its_solo_run() {
    let bridge = Small::new().bridge(DType::F64);
    let short = vec![7, 8];
    let solo = logits(
        &bridge
            .run(&ask(std::slice::from_ref(&short), Padding::Right, &[]))
            .unwrap(),
    );
    let width = solo.len() / short.len();
    for (padding, first) in [
        (Padding::Left, ROW.len() - short.len()),
        (Padding::Right, 0),
    ] {
        let batch = logits(
            &bridge
                .run(&ask(&[ROW.to_vec(), short.clone()], padding, &[]))
                .unwrap(),
        );
        let row = &batch[(ROW.len() + first) * width..][..solo.len()];
        assert!(largest_difference(row, &solo) < 1e-12, "{padding:?}");
    }
}

#[test]
fn the_scale_and_normalized_of_a_norm_give_back_its_input() {
    let names = [
        "blocks.0.hook_resid_pre",
        "blocks.0.ln1.hook_scale",
        "blocks.0.ln1.hook_normalized",
    ];
    let trace = Small::new()
        .bridge(DType::F64)
        .run(&ask(&[ROW.to_vec()], Padding::Right, &names))
        .unwrap();
    let [input, scale, normalized] = names.map(|name| hook(&trace, name).to_f64_vec());
    for (row, input) in input.chunks(D_MODEL).enumerate() {
        let mean = input.iter().sum::<f64>() / D_MODEL as f64;
        for (channel, value) in input.iter().enumerate() {
            let restored = normalized[row * D_MODEL + channel] * scale[row] + mean;
            assert!((restored - value).abs() < 1e-12);
        }
    }
}

#[test]
fn the_order_of_summation_is_rounding_and_nothing_else() {
    let small = Small::new();
    let request = ask(&[ROW.to_vec()], Padding::Right, &["blocks.1.attn.hook_z"]);
    let exact = small.bridge(DType::F64).run(&request).unwrap();
    let split = small
        .bridge(DType::F64)
        .with_arithmetic(Arithmetic::SplitSums(3))
        .run(&request)
        .unwrap();
    assert!(largest_difference(&logits(&exact), &logits(&split)) < 1e-12);
    let rounded = small.bridge(DType::F32).run(&request).unwrap();
    let error = largest_difference(&logits(&exact), &logits(&rounded));
    assert!(error > 0.0 && error < 1e-3, "{error}");
    assert_eq!(
        hook(&rounded, "blocks.1.attn.hook_z").shape(),
        [1, ROW.len(), HEADS, D_HEAD]
    );
}

/// Whether an operation of torch ends at the hook, so that its value is stored.
fn is_stored(name: &str) -> bool {
    !name.ends_with("hook_scale") && !name.ends_with("hook_normalized")
}

#[test]
fn in_a_narrow_precision_every_value_that_is_stored_is_one_of_it() {
    let small = Small::new();
    for dtype in [DType::BF16, DType::F16] {
        let round = |value: f32| match dtype {
            DType::BF16 => bf16::from_f32(value).to_f32(),
            _ => f16::from_f32(value).to_f32(),
        };
        let bridge = small.bridge(dtype);
        let names: Vec<&str> = bridge
            .hooks()
            .iter()
            .map(|hook| hook.name.as_str())
            .collect();
        let cumulative = ask(&[ROW.to_vec()], Padding::Right, &names);
        // Overwritten with values of f64, which the narrow type does not have.
        let truth = small.bridge(DType::F64).run(&cumulative).unwrap().values;
        let truth = truth
            .into_iter()
            .filter_map(|(quantity, value)| Some((quantity.as_hook()?.to_owned(), value)))
            .filter(|(name, _)| {
                name == "blocks.0.hook_resid_mid" || name.ends_with("ln2.hook_scale")
            });
        let local = cumulative.clone().local(truth.collect());
        for request in [cumulative, local] {
            let trace = bridge.run(&request).unwrap();
            for (quantity, value) in &trace.values {
                let values = value.as_slice::<f32>().unwrap();
                let exact = values.iter().all(|&value| round(value) == value);
                let expected = quantity.as_hook().is_none_or(is_stored);
                assert_eq!(exact, expected, "{quantity} in {dtype}");
            }
        }
    }
}
