//! Options, refusals, a Python with libraries that are none, and, where one is named, a real one.

mod architecture;
mod options;
#[cfg(unix)]
mod python;
mod real;
mod spec;

use std::path::Path;

use serde_json::json;
use tlbench_sdk::{DType, ErrorKind, Role, hooks};

use self::spec::spec;
use super::*;

/// Nobody listens.
struct Silence;

impl Host for Silence {
    fn progress(&self, _: &str) {}
}

fn request(folder: &Path, python: &str) -> OpenRequest {
    let spec = spec();
    OpenRequest {
        folder: folder.to_owned(),
        hooks: hooks(&spec),
        spec,
        role: Role::Reference,
        dtype: DType::F32,
        config_digest: "sha256:c0".to_owned(),
        weights_digest: "sha256:e0".to_owned(),
        recording: None,
        stimuli: Vec::new(),
        options: serde_json::Map::from_iter([("python".to_owned(), json!(python))]),
    }
}

/// What opening fails with.
fn failure(request: &OpenRequest) -> PluginError {
    let opened = TransformerLens::default().open(request, &Silence);
    opened.err().unwrap()
}

#[test]
fn a_precision_in_which_it_is_not_asked() {
    let mut request = request(Path::new("/nowhere"), "python3");
    request.dtype = DType::BF16;
    let error = failure(&request);
    assert_eq!(error.kind, ErrorKind::Unsupported);
    insta::assert_snapshot!(error.message, @"transformer-lens is asked in f32 and f64, not in bf16");
}
