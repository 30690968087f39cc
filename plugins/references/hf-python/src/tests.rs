//! A Python with libraries that are none, and, where one is named, a real one.

#[cfg(unix)]
mod python;
mod real;

use std::path::Path;
use std::sync::Mutex;

use serde_json::json;
use tlbench_sdk::Role;
use tlbench_sdk::{DType, ErrorKind};

use super::*;

#[derive(Default)]
struct Listener(Mutex<Vec<String>>);

impl Listener {
    fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

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
        role: Role::Reference,
        dtype: DType::F32,
        config_digest: "sha256:c0".to_owned(),
        weights_digest: "sha256:e0".to_owned(),
        recording: None,
        stimuli: Vec::new(),
        options: serde_json::Map::from_iter([("python".to_owned(), json!(python))]),
    }
}

/// With another limit to silence.
fn with_timeout(request: OpenRequest, seconds: f64) -> OpenRequest {
    let mut request = request;
    request.options.insert("timeout".to_owned(), json!(seconds));
    request
}

fn fake(name: &str) -> String {
    format!("{}/src/fakes/{name}.sh", env!("CARGO_MANIFEST_DIR"))
}

/// What opening fails with, and what was told before.
fn failure(request: &OpenRequest) -> (PluginError, Vec<String>) {
    let listener = Listener::default();
    let error = HfPython::default().open(request, &listener).err().unwrap();
    (error, listener.told())
}

#[test]
fn a_precision_that_is_not_measured() {
    let mut request = request(Path::new("/nowhere"), "python3");
    request.dtype = DType::I64;
    let (error, _) = failure(&request);
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.message, "hf-python measures no rounding of i64");
}
