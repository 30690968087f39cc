//! Pythons that fail in every way, and, where one is named, a real one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::json;
use tlbench_sdk::spec::HfTap;
use tlbench_sdk::{DType, Dim, ErrorKind, HookPoint, Padding, Quantity, Stimulus, TraceRequest};

use super::*;

#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Host for Listener {
    fn progress(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

fn request(folder: &Path, python: &str) -> OpenRequest {
    // The worker never sees it.
    let tokens = json!({"names": ["wte.weight"], "shape": [3, 2]});
    let spec = json!({
        "architecture": "Bigram",
        "d_model": 2,
        "d_vocab": 3,
        "n_ctx": null,
        "embedding": {"tokens": tokens, "module": null},
        "layers": [],
        "final_norm": null,
        "unembed": {"projection": {"weight": tokens, "bias": null, "tap": null}, "d_vocab_out": 3},
    });
    OpenRequest {
        folder: folder.to_owned(),
        spec: serde_json::from_value(spec).unwrap(),
        hooks: Vec::new(),
        dtype: DType::F32,
        config_digest: "sha256:c0".to_owned(),
        weights_digest: "sha256:e0".to_owned(),
        recording: None,
        stimuli: Vec::new(),
        options: serde_json::Map::from_iter([("python".to_owned(), json!(python))]),
    }
}

fn fake(name: &str) -> String {
    format!("{}/src/fakes/{name}.sh", env!("CARGO_MANIFEST_DIR"))
}

/// What opening with `python` fails with, and what was told before.
fn failure(python: &str) -> (PluginError, Vec<String>) {
    let listener = Listener::default();
    let error = HfPython
        .open(&request(Path::new("/nowhere"), python), &listener)
        .err()
        .unwrap();
    (error, listener.0.into_inner().unwrap())
}

fn fake_failure(name: &str) -> (ErrorKind, String) {
    let (error, _) = failure(&fake(name));
    (error.kind, error.message.replace(&fake(name), name))
}

#[test]
fn no_such_interpreter() {
    let (error, _) = failure("/nowhere/python3");
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(
        error.message,
        "`/nowhere/python3` was not found; name a Python that has torch and transformers in TLBENCH_PYTHON, or as \
         `python` among the options of this reference"
    );
}

#[test]
fn not_a_program() {
    let (error, _) = failure(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.message.starts_with("cannot start `"), "{error}");
}

#[cfg(unix)]
#[test]
fn one_that_dies_leaves_its_last_words() {
    let (error, told) = failure(&fake("dies"));
    assert_eq!(error.kind, ErrorKind::Internal);
    let message = error.message.replace(&fake("dies"), "dies");
    assert_eq!(
        message,
        "`dies` ended without an answer (exit status: 3): ModuleNotFoundError: No module named 'encodings'"
    );
    assert!(error.backtrace.unwrap().starts_with("Fatal Python error"));
    assert_eq!(told, [format!("starting {}", fake("dies"))]);
}

#[cfg(unix)]
#[test]
fn one_that_is_killed() {
    let expected = "`killed` ended without an answer (signal: 9 (SIGKILL))";
    assert_eq!(
        fake_failure("killed"),
        (ErrorKind::Internal, expected.to_owned())
    );
}

#[cfg(unix)]
#[test]
fn one_that_hangs_up_is_not_waited_for() {
    let expected = "`hangs_up` hung up without an answer";
    assert_eq!(
        fake_failure("hangs_up"),
        (ErrorKind::Internal, expected.to_owned())
    );
}

#[cfg(unix)]
#[test]
fn one_that_is_another_program() {
    let expected =
        "`garbage` does not run the worker: it answered with a message that begins with \"Welc\"";
    assert_eq!(
        fake_failure("garbage"),
        (ErrorKind::Internal, expected.to_owned())
    );
    let (kind, message) = fake_failure("nonsense");
    assert_eq!(kind, ErrorKind::Internal);
    assert!(
        message.starts_with("`nonsense` does not run the worker: it answered with an answer that cannot be read (unknown variant"),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn one_that_says_what_it_lacks() {
    let expected = "`python3` has no module `torch`";
    assert_eq!(
        fake_failure("lacks_torch"),
        (ErrorKind::Unsupported, expected.to_owned())
    );
}

#[cfg(unix)]
#[test]
fn one_that_dies_at_work() {
    let (error, told) = failure(&fake("dies_at_work"));
    let message = error.message.replace(&fake("dies_at_work"), "dies_at_work");
    assert!(
        message.starts_with("`dies_at_work` ended without an answer (signal: 11 (SIGSEGV)"),
        "{message}"
    );
    assert!(message.ends_with(": Segmentation fault"), "{message}");
    assert_eq!(told[1..], ["loading"]);
}

#[cfg(unix)]
#[test]
fn the_real_worker_says_what_it_lacks() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no `python3` on this machine");
        return;
    }
    let (error, _) = failure(&fake("without_site"));
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error:?}");
    assert!(
        error
            .message
            .contains("has no module `torch`; name a Python"),
        "{error}"
    );
}

#[test]
fn a_precision_that_is_not_measured() {
    let mut request = request(Path::new("/nowhere"), "python3");
    request.dtype = DType::I64;
    let error = HfPython.open(&request, &Listener::default()).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.message, "hf-python measures no rounding of i64");
}

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
        let logits = answered(&folder, &python);
        assert!(
            logits.iter().all(|value| value.is_finite()),
            "{}",
            folder.display()
        );
    }
}

/// The logits of one checkpoint, announced and unannounced.
fn answered(folder: &Path, python: &str) -> Vec<f64> {
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
        Stimulus {
            quantities: quantities.to_vec(),
            ..stimulus
        }
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
    let source = HfPython.open(&request, &Listener::default()).unwrap();
    assert_eq!(source.info().stimuli, std::slice::from_ref(&announced));
    let long = source
        .trace(&TraceRequest::new(announced.inputs.clone(), shown.to_vec()))
        .unwrap();
    assert_eq!(long.value(&shown[0]), long.value(&shown[2]));
    let floor = long.floor(&Quantity::Logits).unwrap();
    assert!(
        floor.cumulative > 0.0 && floor.local.is_some_and(|local| local <= floor.cumulative),
        "{floor:?}"
    );

    // A padded row is the same as the row alone.
    let alone = stimulus("alone", &[vec![4, 5]], &[]);
    let asked = TraceRequest::new(alone.inputs, vec![Quantity::Logits]);
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

    let chunked = TraceRequest {
        chunks: vec![1, 1],
        ..asked
    };
    assert_eq!(
        source.trace(&chunked).unwrap_err().kind,
        ErrorKind::Unsupported
    );
    short
}
