//! A real Python with real libraries, where one is named.

use std::path::{Path, PathBuf};

use tlbench_sdk::spec::{HfTap, Port};
use tlbench_sdk::{Dim, HookPoint, Padding, Quantity, Stimulus, TraceRequest};

use super::*;

/// The checkpoints in this repository.
fn fixtures() -> Vec<PathBuf> {
    let entries = |folder: PathBuf| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    entries(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../architectures"))
        .flat_map(|family| entries(family.join("fixtures")))
        .filter(|folder| folder.join("config.json").is_file())
        .collect()
}

#[test]
#[ignore = "needs TLBENCH_TEST_PYTHON, a Python that has torch and transformers"]
fn a_real_python_answers() {
    let python = std::env::var("TLBENCH_TEST_PYTHON").expect("TLBENCH_TEST_PYTHON");
    let folders = fixtures();
    assert!(!folders.is_empty());
    for folder in folders {
        let logits = answered(&HfPython::default(), &folder, &python);
        assert!(
            logits.iter().all(|value| value.is_finite()),
            "{}",
            folder.display()
        );
    }
}

#[test]
#[ignore = "needs TLBENCH_TEST_PYTHON, a Python that has torch and transformers"]
fn what_a_model_leaves_behind_changes_nothing_for_the_next() {
    let python = std::env::var("TLBENCH_TEST_PYTHON").expect("TLBENCH_TEST_PYTHON");
    for folder in fixtures() {
        let fresh = answered(&HfPython::default(), &folder, &python);
        let (pythons, listener) = (HfPython::default(), Listener::default());
        assert_eq!(answered(&pythons, &folder, &python), fresh);
        // One that fails in the middle of its work, in f64.
        let stimulus = Stimulus::from_rows("wrong", &[vec![1 << 40]], Padding::Left, 0)
            .unwrap()
            .showing([Quantity::Logits]);
        let wrong = OpenRequest {
            stimuli: vec![stimulus],
            ..request(&folder, &python)
        };
        let error = pythons.open(&wrong, &listener).err().unwrap();
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{error}");
        assert_eq!(answered(&pythons, &folder, &python), fresh);
        let told = listener.told();
        assert!(
            !told.iter().any(|told| told.starts_with("starting")),
            "{told:?}"
        );
    }
}

/// The logits of one checkpoint, announced and unannounced.
fn answered(pythons: &HfPython, folder: &Path, python: &str) -> Vec<f64> {
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let vocabulary = usize::try_from(config["vocab_size"].as_u64().unwrap()).unwrap();
    let head = HookPoint {
        name: "unembed.hook_out".to_owned(),
        shape: vec![
            Dim::Batch,
            Dim::Pos,
            Dim::Size {
                name: "d_vocab_out".to_owned(),
                size: vocabulary,
            },
        ],
        order: 0,
        gate: None,
        hf_tap: Some(HfTap::output("lm_head")),
    };
    let stimulus = |id: &str, rows: &[Vec<i64>], quantities: &[Quantity]| {
        let stimulus = Stimulus::from_rows(id, rows, Padding::Left, 0).unwrap();
        stimulus.showing(quantities.iter().cloned())
    };
    let shown = [Quantity::Logits, Quantity::Loss, Quantity::hook(&head.name)];
    let announced = stimulus(
        "padded",
        &[vec![1, 2, 3, 4, 5, 6, 7, 8, 9], vec![4, 5]],
        &shown,
    );
    let request = OpenRequest {
        hooks: vec![head.clone()],
        stimuli: vec![announced.clone()],
        ..request(folder, python)
    };
    let source = pythons.open(&request, &Listener::default()).unwrap();
    assert_eq!(source.info().stimuli, std::slice::from_ref(&announced));
    let long = source
        .trace(&TraceRequest::new(
            announced.request.inputs.clone(),
            shown.to_vec(),
        ))
        .unwrap();
    assert_eq!(long.value(&shown[0]), long.value(&shown[2]));
    let floor = long.floor(&Quantity::Logits).unwrap();
    assert!(
        floor.cumulative > 0.0 && floor.local.is_some_and(|local| local <= floor.cumulative),
        "{floor:?}"
    );

    // A padded row is the same as the row alone.
    let alone = stimulus("alone", &[vec![4, 5]], &[]);
    let asked = TraceRequest::new(alone.request.inputs, vec![Quantity::Logits]);
    let short = source.trace(&asked).unwrap();
    let (short, long) = (
        short.value(&Quantity::Logits).unwrap(),
        long.value(&Quantity::Logits).unwrap(),
    );
    assert_eq!(short.shape(), [1, 2, vocabulary]);
    let (short, long) = (short.to_f64_vec(), long.to_f64_vec());
    let tail = &long[long.len() - 2 * vocabulary..];
    let worst = short
        .iter()
        .zip(tail)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(worst <= 1e-6, "{worst}");

    let chunked = source
        .trace(&TraceRequest {
            chunks: vec![1, 1],
            ..asked
        })
        .unwrap();
    let chunked = chunked.value(&Quantity::Logits).unwrap().to_f64_vec();
    let worst = short
        .iter()
        .zip(&chunked)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(worst <= 1e-6, "{worst}");
    short
}

/// Bloom calls no registered attention, so that its softmax itself is watched.
#[test]
#[ignore = "needs TLBENCH_TEST_PYTHON, a Python that has torch and transformers"]
fn attention_that_a_model_computes_by_itself_is_seen_at_its_operations() {
    let fixture = "bloom/fixtures/five_heads";
    let heads = Dim::Size {
        name: "n_heads".to_owned(),
        size: 5,
    };
    let square = |name: &str, order, port| HookPoint {
        name: name.to_owned(),
        shape: vec![Dim::Batch, heads.clone(), Dim::Pos, Dim::KeyPos],
        order,
        gate: None,
        hf_tap: Some(HfTap::new("transformer.h.0.self_attention", port)),
    };
    let hooks = [
        square("scores", 0, Port::Scores),
        square("pattern", 1, Port::Pattern),
    ];
    let [scores, pattern] = shown(fixture, hooks, &[vec![7, 8, 9]]);
    for (row, (scores, pattern)) in scores.chunks(3).zip(pattern.chunks(3)).enumerate() {
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        for (key, (score, share)) in scores.iter().zip(pattern).enumerate() {
            assert!((score.exp() / total - share).abs() < 1e-6, "{row}, {key}");
            assert_eq!(key > row % 3, *score == f64::NEG_INFINITY, "{row}, {key}");
        }
    }
}

/// A mixture has no module that shows its choice in every release, so that its `topk` itself is watched.
#[test]
#[ignore = "needs TLBENCH_TEST_PYTHON, a Python that has torch and transformers"]
fn what_a_router_chooses_and_what_by_is_seen_at_its_operation() {
    let fixture = "mixtral/fixtures/mixtral";
    let (n_experts, top_k) = (5, 2);
    let point = |name: &str, order, size, port| HookPoint {
        name: name.to_owned(),
        shape: vec![
            Dim::Batch,
            Dim::Pos,
            Dim::Size {
                name: name.to_owned(),
                size,
            },
        ],
        order,
        gate: None,
        hf_tap: Some(HfTap::new("model.layers.0.mlp", port)),
    };
    let hooks = [
        point("scores", 0, n_experts, Port::RouterScores),
        point("choice", 1, top_k, Port::RouterChoice),
    ];
    let [scores, choice] = shown(fixture, hooks, &[vec![7, 8, 9], vec![4]]);
    let tokens = scores.chunks(n_experts).zip(choice.chunks(top_k));
    assert_eq!(tokens.len(), 6);
    for (scores, choice) in tokens {
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        let mut best: Vec<usize> = (0..n_experts).collect();
        best.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let best: Vec<f64> = best.iter().map(|&expert| expert as f64).collect();
        assert_eq!(choice, &best[..top_k]);
    }
}

/// What a checkpoint in this repository shows at `hooks` for rows of tokens.
fn shown<const N: usize>(fixture: &str, hooks: [HookPoint; N], rows: &[Vec<i64>]) -> [Vec<f64>; N] {
    let python = std::env::var("TLBENCH_TEST_PYTHON").expect("TLBENCH_TEST_PYTHON");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../architectures")
        .join(fixture);
    let quantities = hooks.each_ref().map(|hook| Quantity::hook(&hook.name));
    let stimulus = Stimulus::from_rows("text", rows, Padding::Left, 0)
        .unwrap()
        .showing(quantities.clone());
    let request = OpenRequest {
        hooks: hooks.into(),
        stimuli: vec![stimulus.clone()],
        ..request(&folder, &python)
    };
    let source = HfPython::default()
        .open(&request, &Listener::default())
        .unwrap();
    let trace = source.trace(&stimulus.request).unwrap();
    quantities.map(|quantity| trace.value(&quantity).unwrap().to_f64_vec())
}
