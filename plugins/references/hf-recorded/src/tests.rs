//! Which recordings speak for which checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tlbench_checkpoint::{RecordedAnswer, Recording};
use tlbench_sdk::compare::Floor;
use tlbench_sdk::{ErrorKind, Padding, Quantity, Stimulus, Tensor};

use super::*;

struct Silent;

impl Host for Silent {
    fn progress(&self, _message: &str) {}
}

fn recording() -> Recording {
    let mut stimulus = Stimulus::from_rows("text", &[vec![5, 6]], Padding::Right, 0).unwrap();
    stimulus.request.capture = vec![Quantity::Logits];
    let logits = Tensor::from_vec(vec![0.5_f32; 6], &[1, 2, 3]).unwrap();
    Recording {
        provenance: BTreeMap::from([("transformers".to_owned(), "5.23.0".to_owned())]),
        config_digest: "sha256:c0".to_owned(),
        weights_digest: "sha256:e0".to_owned(),
        answers: vec![RecordedAnswer {
            stimulus,
            values: BTreeMap::from([(Quantity::Logits, logits)]),
            floors: [(DType::F32, 1e-7), (DType::F16, 1e-3)]
                .map(|(precision, cumulative)| {
                    let floor = Floor {
                        cumulative,
                        local: Some(cumulative / 10.0),
                    };
                    (precision, BTreeMap::from([(Quantity::Logits, floor)]))
                })
                .into(),
        }],
    }
}

/// About the checkpoint that [`recording`] was made of.
fn request(folder: &Path) -> OpenRequest {
    let tokens = json!({"names": ["wte.weight"], "shape": [3, 2]});
    let spec = json!({
        "architecture": "Bigram",
        "d_model": 2,
        "d_vocab": 3,
        "n_ctx": null,
        "embedding": {"tokens": tokens, "module": null},
        "layers": [],
        "final_norm": null,
        "unembed": {
            "projection": {"weight": tokens, "bias": null, "tap": null},
            "d_vocab_out": 3,
        },
    });
    OpenRequest {
        folder: folder.to_owned(),
        spec: serde_json::from_value(spec).unwrap(),
        hooks: vec![],
        role: tlbench_sdk::Role::Reference,
        dtype: DType::F32,
        config_digest: "sha256:c0".to_owned(),
        weights_digest: "sha256:e0".to_owned(),
        recording: None,
        stimuli: vec![],
        options: serde_json::Map::new(),
    }
}

fn open(request: &OpenRequest) -> Result<Box<dyn TraceSource>, PluginError> {
    HfRecorded.open(request, &Silent)
}

/// What opening says, with the folder's name replaced.
fn refusal(request: &OpenRequest) -> (ErrorKind, String) {
    let error = open(request).err().unwrap();
    (
        error.kind,
        error
            .to_string()
            .replace(&*request.folder.to_string_lossy(), "[folder]"),
    )
}

#[test]
fn it_is_asked_before_live_python() {
    let info = HfRecorded.info();
    assert_eq!(info.id, "hf-recorded");
    assert_eq!((info.tier, info.rank), (Tier::HuggingFace, Some(0)));
}

#[test]
fn the_recording_beside_the_checkpoint_answers() {
    let folder = TempDir::new().unwrap();
    recording()
        .write(&folder.path().join(RECORDING_FILE))
        .unwrap();
    let source = open(&request(folder.path())).unwrap();

    let info = source.info();
    assert_eq!(info.provenance["transformers"], "5.23.0");
    let stimulus = &info.stimuli[0];
    assert_eq!(
        (stimulus.id.as_str(), stimulus.request.shape()),
        ("text", [1, 2])
    );

    let question = TraceRequest::new(stimulus.request.inputs.clone(), vec![Quantity::Logits]);
    let trace = source.trace(&question).unwrap();
    let recorded = &recording().answers[0];
    assert_eq!(trace.values, recorded.values);
    assert_eq!(trace.floors, recorded.floors[&DType::F32]);
}

#[test]
fn a_named_recording_goes_before_the_one_beside_the_checkpoint() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(RECORDING_FILE), "not read").unwrap();
    let named = folder.path().join("other.safetensors");
    recording().write(&named).unwrap();
    assert!(
        open(&OpenRequest {
            recording: Some(named),
            ..request(folder.path())
        })
        .is_ok()
    );
}

#[test]
fn without_a_recording_another_reference_is_asked() {
    let folder = TempDir::new().unwrap();
    let (kind, message) = refusal(&request(folder.path()));
    assert_eq!(kind, ErrorKind::Unsupported);
    insta::assert_snapshot!(message, @"no recording at [folder]/recording.safetensors (make one with `tlbench record [folder]`)");
}

#[test]
fn a_named_recording_that_is_missing_is_an_error() {
    let folder = TempDir::new().unwrap();
    let named = folder.path().join("gone.safetensors");
    let (kind, message) = refusal(&OpenRequest {
        recording: Some(named),
        ..request(folder.path())
    });
    assert_eq!(kind, ErrorKind::Io);
    insta::assert_snapshot!(message, @"[folder]/gone.safetensors: cannot open it: No such file or directory (os error 2)");
}

#[test]
fn a_file_that_is_no_recording_is_an_error() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(RECORDING_FILE), "text").unwrap();
    let (kind, message) = refusal(&request(folder.path()));
    assert_eq!(kind, ErrorKind::InvalidInput);
    insta::assert_snapshot!(message, @"[folder]/recording.safetensors: expected 8 bytes with the length of the header, found a file of 4 bytes");
}

#[test]
fn a_recording_of_another_model_is_refused_with_both_digests() {
    let folder = TempDir::new().unwrap();
    recording()
        .write(&folder.path().join(RECORDING_FILE))
        .unwrap();
    let of_request = request(folder.path());

    let retrained = OpenRequest {
        weights_digest: "sha256:e1".to_owned(),
        ..of_request.clone()
    };
    let (kind, message) = refusal(&retrained);
    assert_eq!(kind, ErrorKind::InvalidInput);
    insta::assert_snapshot!(message, @"[folder]/recording.safetensors: recording of other weights: sha256:e0, checkpoint has sha256:e1");

    let reconfigured = OpenRequest {
        config_digest: "sha256:c1".to_owned(),
        ..of_request
    };
    let (kind, message) = refusal(&reconfigured);
    assert_eq!(kind, ErrorKind::InvalidInput);
    insta::assert_snapshot!(message, @"[folder]/recording.safetensors: recording of another config: sha256:c0, checkpoint has sha256:c1");
}

#[test]
fn each_precision_is_judged_by_its_own_floors_and_f64_by_those_of_f32() {
    let folder = TempDir::new().unwrap();
    recording()
        .write(&folder.path().join(RECORDING_FILE))
        .unwrap();
    let in_dtype = |dtype| OpenRequest {
        dtype,
        ..request(folder.path())
    };

    let dtype_of_floors = |dtype| {
        let info = open(&in_dtype(dtype)).unwrap().info();
        info.provenance["dtype"].clone()
    };
    assert_eq!(dtype_of_floors(DType::F32), "f32");
    assert_eq!(dtype_of_floors(DType::F16), "f16");
    assert_eq!(dtype_of_floors(DType::F64), "f32");
    let (kind, message) = refusal(&in_dtype(DType::BF16));
    assert_eq!(kind, ErrorKind::Unsupported);
    insta::assert_snapshot!(message, @"[folder]/recording.safetensors: the recording knows the rounding errors of f32, f16, which say nothing about bf16");
}
