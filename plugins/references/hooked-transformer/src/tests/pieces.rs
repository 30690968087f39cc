//! Runs in pieces, padding and generation: what has to give the same as one run on one row.

use tlbench_sdk::{
    GenerateRequest, GradientRequest, ModelSpec, Objective, Padding, Quantity, Sampling, Tensor,
    TraceRequest, hooks,
};

use super::small::{D_VOCAB, Small, distance, padded, question};

fn everything(spec: &ModelSpec) -> Vec<Quantity> {
    let names = || hooks(spec).into_iter().map(|hook| hook.name);
    let hooks = names()
        .map(Quantity::Hook)
        .chain(names().map(Quantity::HookGradient));
    hooks
        .chain([Quantity::Logits, Quantity::LossPerToken])
        .collect()
}

#[test]
fn in_pieces_every_value_and_gradient_is_the_same() {
    agrees_in_pieces(&Small::new());
}

/// That all there is to see is the same however the input is fed.
pub(super) fn agrees_in_pieces(model: &Small) {
    let mut request = padded(Padding::Left, everything(&model.spec));
    request.gradients = Some(GradientRequest {
        objective: Objective::Loss,
    });
    let whole = model.all_exact(&request);
    for chunks in [vec![1; 6], vec![2, 4], vec![5, 1]] {
        request.chunks = chunks;
        let pieces = model.all_exact(&request);
        for quantity in &request.capture {
            let [mut here, mut there] = [&pieces, &whole].map(|values| values[quantity].clone());
            if quantity.to_string().starts_with("hook_grad:")
                && quantity.to_string().ends_with("hook_pattern")
            {
                // A piece has no keys after its own, and so no gradient there.
                (here, there) = (past(&here), past(&there));
            }
            let error = distance(&here, &there);
            let (of, chunks) = (&model.spec.architecture, &request.chunks);
            assert!(error < 1e-13, "{of}: {quantity}, {chunks:?}: {error:e}");
        }
    }
}

/// `[batch, head, pos, key_pos]` with 0 for keys after the query.
fn past(pattern: &Tensor) -> Tensor {
    let pos = pattern.shape()[3];
    let seen = |(i, value): (usize, f64)| if i % pos <= i / pos % pos { value } else { 0.0 };
    let values = pattern.to_f64_vec().into_iter().enumerate().map(seen);
    Tensor::from_vec::<f64>(values.collect(), pattern.shape()).unwrap()
}

fn rows(tensor: &Tensor, row: usize, from: usize, len: usize) -> Vec<f64> {
    let [_, pos, width] = tensor.shape() else {
        panic!("[batch, pos, width]")
    };
    let start = (row * pos + from) * width;
    tensor.to_f64_vec()[start..start + len * width].to_vec()
}

#[test]
fn padding_on_either_side_changes_nothing() {
    let model = Small::new();
    let alone = question(&[vec![2, 6, 5]], Padding::Right, Vec::new());
    let alone = rows(&model.value(&alone, &Quantity::Logits), 0, 0, 3);
    for (padding, from) in [(Padding::Left, 3), (Padding::Right, 0)] {
        let logits = model.value(&padded(padding, Vec::new()), &Quantity::Logits);
        let padded = rows(&logits, 1, from, 3);
        let error = padded
            .iter()
            .zip(&alone)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(error < 1e-13, "{padding:?}: {error:e}");
    }
}

fn generating(sampling: Sampling, use_cache: bool) -> GenerateRequest {
    GenerateRequest {
        max_new_tokens: 3,
        stop_tokens: Vec::new(),
        use_cache,
        sampling,
    }
}

fn generated(model: &Small, rows: &[Vec<i64>], generate: GenerateRequest) -> Vec<i64> {
    let request = TraceRequest {
        generate: Some(generate),
        ..question(rows, Padding::Left, Vec::new())
    };
    let tokens = model.value(&request, &Quantity::Generated);
    tokens.as_slice::<i64>().unwrap().to_vec()
}

#[test]
fn greedy_tokens_are_those_of_the_largest_logits_with_and_without_a_cache() {
    let model = Small::new();
    let mut row = vec![3, 1, 4];
    for _ in 0..3 {
        let logits = model.value(
            &question(&[row.clone()], Padding::Left, Vec::new()),
            &Quantity::Logits,
        );
        let last = rows(&logits, 0, row.len() - 1, 1);
        let best = (0..D_VOCAB)
            .max_by(|&a, &b| last[a].total_cmp(&last[b]))
            .unwrap();
        row.push(best as i64);
    }
    for use_cache in [true, false] {
        let tokens = generated(
            &model,
            &[vec![3, 1, 4]],
            generating(Sampling::Greedy, use_cache),
        );
        assert_eq!(tokens, row[3..]);
    }
}

#[test]
fn a_row_of_a_batch_gets_what_it_gets_alone() {
    let model = Small::new();
    let sampling = Sampling::Temperature {
        temperature: 2.0,
        seed: 9,
    };
    let batch = [vec![3, 1, 4, 1, 5], vec![2, 6]];
    for use_cache in [true, false] {
        let generate = generating(sampling.clone(), use_cache);
        let alone = batch
            .iter()
            .flat_map(|row| generated(&model, std::slice::from_ref(row), generate.clone()));
        assert_eq!(
            generated(&model, &batch, generate.clone()),
            alone.collect::<Vec<_>>()
        );
    }
}

#[test]
fn it_ends_at_a_stop_token_and_at_the_context() {
    let model = Small::new();
    let first = generated(&model, &[vec![3, 1, 4]], generating(Sampling::Greedy, true))[0];
    let stopping = GenerateRequest {
        stop_tokens: vec![usize::try_from(first).unwrap()],
        ..generating(Sampling::Greedy, true)
    };
    assert_eq!(generated(&model, &[vec![3, 1, 4]], stopping), [first]);
    let long = GenerateRequest {
        max_new_tokens: 50,
        ..generating(Sampling::Greedy, false)
    };
    // Of nine positions the prompt takes three.
    assert_eq!(generated(&model, &[vec![3, 1, 4]], long).len(), 6);
}
