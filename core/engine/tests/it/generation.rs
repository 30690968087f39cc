//! Tokens that are appended: the same with a cache and without, alone and in a batch, today and tomorrow.

use tlbench_engine::{Bridge, RoundingReference};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{
    Action, DType, Evaluation, GenerateRequest, GradientRequest, Intervention, Objective, Padding,
    Quantity, Sampling, Target, TraceRequest, TraceSource,
};

use crate::model::{Small, ask, logits};

const D_VOCAB: usize = 23;
const N_CTX: usize = 9;

pub(crate) fn greedy(max_new_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        max_new_tokens,
        stop_tokens: Vec::new(),
        use_cache: true,
        sampling: Sampling::Greedy,
    }
}

fn sampled(max_new_tokens: usize, temperature: f64, seed: u64) -> GenerateRequest {
    let sampling = Sampling::Temperature { temperature, seed };
    GenerateRequest {
        sampling,
        ..greedy(max_new_tokens)
    }
}

fn without_cache(request: &GenerateRequest) -> GenerateRequest {
    GenerateRequest {
        use_cache: false,
        ..request.clone()
    }
}

fn generate(bridge: &Bridge, rows: &[Vec<i64>], request: &GenerateRequest) -> Vec<Vec<i64>> {
    let inputs = ask(rows, Padding::Left, &[]).inputs;
    let tokens = bridge.generate(&inputs, request).unwrap();
    let &[batch, new] = tokens.shape() else {
        panic!("{:?}", tokens.shape())
    };
    let tokens = tokens.as_slice::<i64>().unwrap();
    assert_eq!(batch, rows.len());
    (0..batch)
        .map(|row| tokens[row * new..][..new].to_vec())
        .collect()
}

/// Rows of unequal length, and each way to choose.
fn batch() -> [Vec<i64>; 3] {
    [vec![3, 1, 4, 22], vec![7], vec![8, 2]]
}

fn ways() -> [GenerateRequest; 4] {
    [
        greedy(5),
        sampled(5, 1.0, 1),
        sampled(5, 0.3, 2),
        sampled(5, 4.0, 3),
    ]
}

/// The small model, and the same with windows.
fn bridges() -> Vec<Bridge> {
    let small = Small::new();
    let masks = [Mask::CAUSAL, Mask::sliding(2), Mask::Chunked { size: 3 }];
    let open = |mask| {
        let mut spec = small.spec.clone();
        spec.layers[0].attn.as_mut().unwrap().body.mask = mask;
        Bridge::open(&spec, &small.weights(), DType::F64).unwrap()
    };
    masks.map(open).into()
}

#[test]
fn greedy_tokens_are_the_largest_logits_of_a_run_on_all_before_them() {
    let bridge = Small::new().bridge(DType::F64);
    let prompt = vec![3, 1, 4];
    let tokens = generate(&bridge, std::slice::from_ref(&prompt), &greedy(4)).remove(0);
    assert_eq!(tokens.len(), 4);
    let all = [prompt.clone(), tokens.clone()].concat();
    let whole = logits(&bridge.run(&ask(&[all], Padding::Right, &[])).unwrap());
    for (step, &token) in tokens.iter().enumerate() {
        let logits = &whole[(prompt.len() - 1 + step) * D_VOCAB..][..D_VOCAB];
        let best = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(logits[token as usize], best);
    }
}

#[test]
fn a_cache_changes_no_token() {
    for bridge in bridges() {
        for way in ways() {
            let cached = generate(&bridge, &batch(), &way);
            assert_eq!(
                cached,
                generate(&bridge, &batch(), &without_cache(&way)),
                "{way:?}"
            );
        }
    }
}

#[test]
fn each_row_of_a_batch_goes_on_as_it_does_alone() {
    // Distances count padding, so that chunks of positions are others in a padded row.
    for bridge in &bridges()[..2] {
        for way in ways() {
            let solo = batch().map(|row| generate(bridge, &[row], &way).remove(0));
            assert_eq!(generate(bridge, &batch(), &way), solo, "{way:?}");
        }
    }
}

#[test]
fn neither_repetition_nor_the_order_of_calls_matters() {
    let bridge = Small::new().bridge(DType::F32);
    let calls: Vec<_> = ways()
        .into_iter()
        .flat_map(|way| [(batch().to_vec(), way.clone()), (vec![vec![5, 6]], way)])
        .collect();
    let forth: Vec<_> = calls
        .iter()
        .map(|(rows, way)| generate(&bridge, rows, way))
        .collect();
    let back = calls
        .iter()
        .rev()
        .map(|(rows, way)| generate(&bridge, rows, way));
    let mut back: Vec<_> = back.collect();
    back.reverse();
    assert_eq!(forth, back);
}

#[test]
fn a_seed_reproduces_its_tokens_and_another_draws_others() {
    let bridge = Small::new().bridge(DType::F64);
    let drawn = |seed| generate(&bridge, &[vec![3]], &sampled(8, 5.0, seed));
    let all: Vec<_> = (0..20).map(drawn).collect();
    assert!((0..20).map(drawn).eq(all.iter().cloned()));
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert!(different.len() > 15, "{}", different.len());
}

#[test]
fn a_row_ends_with_its_stop_token_and_is_filled_with_the_first_one() {
    let bridge = Small::new().bridge(DType::F64);
    // Draws of which the second row meets its stop token at step 1, and the others later or never.
    let is_first = |free: &Vec<Vec<i64>>| {
        let [first, second, third] = [0, 1, 2].map(|row| &free[row][..2]);
        let stop = second[1];
        second[0] != stop && !first.contains(&stop) && !third.contains(&stop)
    };
    let ways = (0..).map(|seed| sampled(5, 4.0, seed));
    let mut draws = ways.map(|way| (generate(&bridge, &batch(), &way), way));
    let (free, way) = draws.find(|(free, _)| is_first(free)).unwrap();
    let stop = free[1][1];
    let unmet = (0..D_VOCAB as i64)
        .find(|token| !free.concat().contains(token))
        .unwrap();
    for stop_tokens in [vec![stop], vec![unmet, stop]] {
        let filler = stop_tokens[0];
        let request = GenerateRequest {
            stop_tokens: stop_tokens.iter().map(|&token| token as usize).collect(),
            ..way.clone()
        };
        let stopped = generate(&bridge, &batch(), &request);
        let expected: Vec<Vec<i64>> = free
            .iter()
            .map(|row| match row.iter().position(|&token| token == stop) {
                Some(end) => (0..5)
                    .map(|at| if at <= end { row[at] } else { filler })
                    .collect(),
                None => row.clone(),
            })
            .collect();
        assert_eq!(stopped, expected);
        assert_eq!(
            generate(&bridge, &batch(), &without_cache(&request)),
            expected
        );
        // Alone, that is the end.
        let solo = generate(&bridge, &batch()[1..2], &request);
        assert_eq!(solo, [&free[1][..2]]);
    }
}

#[test]
fn generation_ends_where_the_longest_row_fills_the_context() {
    let bridge = Small::new().bridge(DType::F64);
    for use_cache in [true, false] {
        let request = GenerateRequest {
            use_cache,
            ..greedy(100)
        };
        let new = |rows: &[Vec<i64>]| generate(&bridge, rows, &request)[0].len();
        assert_eq!(new(&[vec![1, 2, 3]]), N_CTX - 3);
        assert_eq!(new(&[vec![1, 2, 3], vec![4; 7]]), N_CTX - 7);
        assert_eq!(new(&[vec![4; N_CTX]]), 0);
    }
}

#[test]
fn a_row_that_has_ended_takes_no_room_in_the_context() {
    let bridge = Small::new().bridge(DType::F64);
    let rows = [vec![3, 1, 4, 22, 5, 9], vec![7]];
    let free = generate(&bridge, &rows, &greedy(1));
    assert_ne!(free[0], free[1]);
    let request = GenerateRequest {
        stop_tokens: vec![free[0][0] as usize],
        ..greedy(100)
    };
    let solo = generate(&bridge, &rows[1..], &request).remove(0);
    let stopped = generate(&bridge, &rows, &request);
    assert_eq!(stopped[1], solo);
    assert!(solo.len() > N_CTX - 6, "{solo:?}");
}

#[test]
fn what_is_shown_beside_the_tokens_is_of_the_prompt() {
    let bridge = Small::new().bridge(DType::F64);
    let prompt = ask(&batch(), Padding::Left, &["blocks.1.attn.hook_pattern"]);
    let shown = bridge.run(&prompt).unwrap();
    for (chunks, use_cache) in [(vec![], true), (vec![], false), (vec![1, 3], true)] {
        let mut request = prompt.clone();
        request.capture.push(Quantity::Generated);
        request.chunks = chunks;
        request.generate = Some(GenerateRequest {
            use_cache,
            ..greedy(5)
        });
        let mut trace = bridge.run(&request).unwrap();
        trace.check(&request).unwrap();
        let tokens = trace.values.remove(&Quantity::Generated).unwrap();
        let alone = bridge.generate(&prompt.inputs, &greedy(5)).unwrap();
        assert_eq!(tokens, alone);
        let differences = shown.values.iter().map(|(quantity, value)| {
            let (a, b) = (value.to_f64_vec(), trace.values[quantity].to_f64_vec());
            crate::model::largest_difference(&a, &b)
        });
        assert!(differences.into_iter().all(|difference| difference < 1e-12));
    }
}

#[test]
fn the_bridge_as_its_own_reference_has_floors_for_what_is_not_a_token() {
    let small = Small::new();
    let reference = RoundingReference::new(small.bridge(DType::F64), &small.bridge(DType::F32));
    let mut request = ask(&batch(), Padding::Left, &["blocks.0.attn.hook_z"]);
    request.capture.push(Quantity::Generated);
    request.generate = Some(greedy(3));
    let trace = reference.trace(&request).unwrap();
    trace.check(&request).unwrap();
    let floors: Vec<String> = trace.floors.keys().map(ToString::to_string).collect();
    assert_eq!(floors, ["logits", "log_probs", "hook:blocks.0.attn.hook_z"]);
    request.capture = vec![Quantity::Generated];
    assert!(reference.trace(&request).unwrap().floors.is_empty());
}

#[test]
fn what_cannot_be_generated_from_is_said() {
    let small = Small::new();
    let bridge = small.bridge(DType::F32);
    let mut ahead = small.spec.clone();
    ahead.layers[0].attn.as_mut().unwrap().body.mask = Mask::Band {
        back: None,
        ahead: Some(1),
    };
    let ahead = Bridge::open(&ahead, &small.weights(), DType::F32).unwrap();
    let new = |change: &dyn Fn(&mut GenerateRequest)| {
        let mut request = ask(&[vec![1, 2, 3]], Padding::Left, &[]);
        let mut generate = greedy(2);
        change(&mut generate);
        request.generate = Some(generate);
        request.capture = vec![Quantity::Generated];
        request
    };
    let with = |change: &dyn Fn(&mut TraceRequest)| {
        let mut request = new(&|_| ());
        change(&mut request);
        request
    };
    let at = |temperature| move |r: &mut GenerateRequest| *r = sampled(1, temperature, 0);
    let requests = [
        (&bridge, new(&|r| r.max_new_tokens = 0)),
        (&bridge, new(&at(0.0))),
        (&bridge, new(&at(-1.0))),
        (&bridge, new(&at(f64::NAN))),
        (&bridge, new(&at(f64::INFINITY))),
        (&bridge, new(&|r| r.stop_tokens = vec![3, 23])),
        (
            &bridge,
            with(&|r| {
                r.inputs = ask(&[vec![1, 2, 3], vec![4]], Padding::Right, &[]).inputs;
            }),
        ),
        (
            &bridge,
            with(&|r| {
                let target = Target::Hook("hook_embed".into());
                r.interventions
                    .push(Intervention::new(target, Action::Zero));
            }),
        ),
        (&bridge, with(&|r| r.evaluation = Evaluation::Local)),
        (
            &bridge,
            with(&|r| {
                r.chunks = vec![1, 2];
                r.generate = Some(without_cache(&greedy(2)));
            }),
        ),
        (
            &bridge,
            with(&|r| {
                let objective = Objective::Loss;
                r.gradients = Some(GradientRequest { objective });
            }),
        ),
        (&ahead, new(&|_| ())),
    ];
    let messages = requests.map(|(bridge, request)| bridge.run(&request).unwrap_err().to_string());
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_model_whose_logits_are_not_numbers_generates_nothing() {
    let small = Small::new();
    let mut spec = small.spec.clone();
    spec.final_norm.as_mut().unwrap().eps = f64::NAN;
    let bridge = Bridge::open(&spec, &small.weights(), DType::F32).unwrap();
    let inputs = ask(&[vec![1, 2]], Padding::Left, &[]).inputs;
    let error = bridge.generate(&inputs, &greedy(1)).unwrap_err();
    insta::assert_snapshot!(error, @"logits: expected a largest one that is finite, found NaN");
}
