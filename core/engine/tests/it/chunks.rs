//! A run in pieces is the run as a whole, however it is cut.

use tlbench_engine::Bridge;
use tlbench_sdk::compare::{Axes, Region, compare};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{
    ATTENTION_MASK, Action, DType, GradientRequest, HookPoint, Intervention, ModelSpec, Objective,
    Padding, Quantity, Target, Tensor, Trace, TraceRequest,
};

use crate::hooks::shape_of;
use crate::model::{Small, ask, hook, random};

const ROW: [i64; 6] = [3, 1, 4, 22, 5, 9];

/// All the ways to cut `pos` positions.
fn cuts(pos: usize) -> Vec<Vec<usize>> {
    (0..1_usize << (pos - 1))
        .map(|borders| {
            let mut lengths = vec![1];
            for place in 0..pos - 1 {
                match lengths.last_mut() {
                    Some(last) if borders >> place & 1 == 0 => *last += 1,
                    _ => lengths.push(1),
                }
            }
            lengths
        })
        .collect()
}

/// Everything there is to see on two rows of unequal length.
fn everything(bridge: &Bridge) -> TraceRequest {
    let names: Vec<&str> = bridge.hooks().iter().map(|h| h.name.as_str()).collect();
    let rows = [ROW.to_vec(), vec![7, 8, 2]];
    let mut request = ask(&rows, Padding::Left, &names);
    request
        .capture
        .extend([Quantity::LogProbs, Quantity::LossPerToken, Quantity::Loss]);
    request
}

/// The largest difference, as a share of the largest value; what is not finite has to be equal.
fn relative_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
    let scale = a
        .iter()
        .filter(|v| v.is_finite())
        .fold(1e-300, |max: f64, v| max.max(v.abs()));
    let differences = a.iter().zip(&b).map(|(a, b)| {
        if a.is_finite() {
            (a - b).abs() / scale
        } else {
            f64::from(u8::from(a != b))
        }
    });
    differences.fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max })
}

#[track_caller]
fn assert_same(whole: &Trace, pieces: &Trace, what: &str) {
    assert!(whole.values.keys().eq(pieces.values.keys()));
    for (quantity, value) in &whole.values {
        let difference = relative_difference(value, &pieces.values[quantity]);
        assert!(difference < 1e-12, "{quantity}: {difference} with {what}");
    }
}

#[track_caller]
fn assert_law(bridge: &Bridge, request: &TraceRequest) {
    let whole = bridge.run(request).unwrap();
    for chunks in cuts(ROW.len()) {
        let what = format!("{chunks:?}");
        let pieces = TraceRequest {
            chunks,
            ..request.clone()
        };
        let pieces = bridge.run(&pieces).unwrap();
        assert_same(&whole, &pieces, &what);
    }
}

#[test]
fn every_value_is_that_of_the_whole_run_for_every_cut() {
    let bridge = Small::new().bridge(DType::F64);
    assert_eq!(cuts(ROW.len()).len(), 32);
    assert_law(&bridge, &everything(&bridge));
}

#[test]
fn masks_count_places_in_the_whole_sequence() {
    let small = Small::new();
    for mask in [
        Mask::sliding(2),
        Mask::sliding(4),
        Mask::Chunked { size: 4 },
    ] {
        let mut spec = small.spec.clone();
        spec.layers[1].attn.as_mut().unwrap().body.mask = mask;
        let bridge = Bridge::open(&spec, &small.weights(), DType::F64).unwrap();
        assert_law(&bridge, &everything(&bridge));
    }
}

#[test]
fn in_f32_the_error_is_that_of_rounding() {
    let small = Small::new();
    let rounded = small.bridge(DType::F32);
    let request = everything(&rounded);
    let truth = small.bridge(DType::F64).run(&request).unwrap();
    let whole = rounded.run(&request).unwrap();
    let region = Region::new(&request.inputs[ATTENTION_MASK]).unwrap();
    for chunks in cuts(ROW.len()) {
        let pieces = TraceRequest {
            chunks,
            ..request.clone()
        };
        let pieces = rounded.run(&pieces).unwrap();
        for (quantity, truth) in &truth.values {
            let axes = Axes::of(quantity, rounded.hooks()).unwrap();
            let error = |trace: &Trace| compare(&trace.values[quantity], truth, axes, &region);
            let (found, floor) = (error(&pieces).unwrap(), error(&whole).unwrap());
            // One run is a noisy floor on so few positions: the first gate of small inputs.
            let floor = floor.rms.max(DType::F32.roundoff() * floor.truth_rms);
            assert!(
                found.rms <= 5.0 * floor,
                "{quantity}: {} > {floor}",
                found.rms
            );
        }
    }
}

fn has_keys(point: &HookPoint) -> bool {
    point.shape.contains(&tlbench_sdk::Dim::KeyPos)
}

#[test]
fn an_edit_is_made_at_its_positions_in_the_whole_sequence() {
    let bridge = Small::new().bridge(DType::F64);
    for (seed, point) in bridge.hooks().iter().filter(|p| !has_keys(p)).enumerate() {
        let shape = shape_of(point, 2, ROW.len());
        let values = random(seed as u64, shape.iter().product());
        let last = *shape.last().unwrap();
        let target = || Target::Hook(point.name.clone());
        let by = |operand: &str| operand.to_owned();
        for edit in [
            Intervention::new(target(), Action::Scale { factor: 0.5 }).at_positions([1, 4]),
            Intervention::new(
                target(),
                Action::Add {
                    operand: by("whole"),
                },
            )
            .at_rows([1]),
            Intervention::new(
                target(),
                Action::Add {
                    operand: by("vector"),
                },
            )
            .at_positions([5]),
            Intervention::new(
                target(),
                Action::Replace {
                    operand: by("whole"),
                },
            )
            .at_positions([2]),
        ] {
            let mut request = everything(&bridge);
            let tensor = |count: usize, shape: &[usize]| {
                let values: Vec<f32> = values[..count].iter().map(|v| v + 1.5).collect();
                Tensor::from_vec(values, shape).unwrap()
            };
            request
                .operands
                .insert("whole".into(), tensor(values.len(), &shape));
            request
                .operands
                .insert("vector".into(), tensor(last, &[last]));
            request.interventions.push(edit);
            let whole = bridge.run(&request).unwrap();
            for chunks in [vec![1; 6], vec![2, 4], vec![3, 2, 1]] {
                let what = format!("{:?} in {chunks:?}", request.interventions);
                let pieces = TraceRequest {
                    chunks,
                    ..request.clone()
                };
                let pieces = bridge.run(&pieces).unwrap();
                assert_same(&whole, &pieces, &what);
            }
        }
    }
}

#[test]
fn a_local_run_overwrites_each_piece_with_its_part_of_the_truth() {
    let small = Small::new();
    let truth = small.bridge(DType::F64);
    let request = everything(&truth);
    let truth = truth.run(&request).unwrap().values;
    let truth = truth
        .into_iter()
        .filter_map(|(quantity, value)| Some((quantity.as_hook()?.to_owned(), value)))
        .filter(|(name, _)| !name.ends_with("_input") && !name.ends_with("hook_attn_in"));
    let mut wrong = small.spec.clone();
    wrong.layers[0].attn.as_mut().unwrap().body.scale *= 2.0;
    let wrong = Bridge::open(&wrong, &small.weights(), DType::F64).unwrap();
    assert_law(&wrong, &request.local(truth.collect()));
}

#[test]
fn what_a_run_in_pieces_cannot_do_is_said() {
    let small = Small::new();
    let mut bidirectional = small.spec.clone();
    bidirectional.layers[1].attn.as_mut().unwrap().body.mask = Mask::Band {
        back: None,
        ahead: None,
    };
    let resid = "blocks.0.hook_resid_pre";
    let edit = |name: &str, action: Action| Intervention::new(Target::Hook(name.into()), action);
    let operand = |r: &mut TraceRequest, action: fn(String) -> Action, shape: &[usize]| {
        let values = vec![0.0_f32; shape.iter().product()];
        let tensor = Tensor::from_vec(values, shape).unwrap();
        r.operands.insert("delta".into(), tensor);
        r.interventions.push(edit(resid, action("delta".into())));
    };
    type Edit<'a> = &'a dyn Fn(&mut TraceRequest);
    let add = |operand| Action::Add { operand };
    let replace = |operand| Action::Replace { operand };
    let cases: [(&ModelSpec, Edit<'_>); 13] = [
        (&small.spec, &|r| r.chunks = vec![2, 1]),
        (&small.spec, &|r| r.chunks = vec![5, 2]),
        (&small.spec, &|r| r.chunks = vec![usize::MAX, 7]),
        (&small.spec, &|r| r.chunks = vec![0, 6]),
        (&bidirectional, &|_| ()),
        (&small.spec, &|r| {
            let objective = Objective::Loss;
            r.gradients = Some(GradientRequest { objective });
        }),
        (&small.spec, &|r| {
            r.interventions
                .push(edit("blocks.0.attn.hook_pattern", Action::Zero));
        }),
        (&small.spec, &|r| {
            let noise = Action::Perturb {
                seed: 1,
                relative: 0.1,
            };
            r.interventions.push(edit(resid, noise));
        }),
        (&small.spec, &|r| {
            r.interventions
                .push(edit(resid, Action::Zero).at_positions([2, 6]));
        }),
        (&small.spec, &|r| {
            r.interventions.push(edit(resid, add("delta".into())))
        }),
        (&small.spec, &|r| operand(r, add, &[2, 12])),
        (&small.spec, &|r| operand(r, replace, &[1, 4, 12])),
        (&small.spec, &|r| {
            let truth = Tensor::from_vec(vec![0.0; 48], &[1, 4, 12]).unwrap();
            let local = r.clone().local([(resid.to_owned(), truth)].into());
            *r = local;
        }),
    ];
    let messages = cases.map(|(spec, change)| {
        let bridge = Bridge::open(spec, &small.weights(), DType::F32).unwrap();
        let mut request = ask(&[ROW.to_vec()], Padding::Right, &[]);
        request.chunks = vec![4, 2];
        change(&mut request);
        bridge.run(&request).unwrap_err().to_string()
    });
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn keys_that_a_piece_does_not_have_are_masked() {
    let bridge = Small::new().bridge(DType::F64);
    let names = [
        "blocks.1.attn.hook_attn_scores",
        "blocks.1.attn.hook_pattern",
    ];
    let mut request = ask(&[ROW.to_vec()], Padding::Right, &names);
    request.chunks = vec![1, 2, 3];
    let trace = bridge.run(&request).unwrap();
    let [scores, pattern] = names.map(|name| hook(&trace, name).to_f64_vec());
    for (index, (score, weight)) in scores.iter().zip(&pattern).enumerate() {
        let is_ahead = index % 6 > index / 6 % 6;
        assert_eq!(is_ahead, *score == f64::NEG_INFINITY);
        assert_eq!(is_ahead, *weight == 0.0);
    }
}
