//! What the tests run, and on what.

pub(crate) mod built;
pub(crate) mod checkpoint;
pub(crate) mod cli_test;
pub(crate) mod normalise;
#[path = "../../../../hub/tests/it/support/server.rs"]
#[expect(dead_code, reason = "the tests of the Hub do more with it")]
pub(crate) mod server;
pub(crate) mod shipped_config;
#[path = "../../../../hub/tests/it/support/site.rs"]
#[expect(dead_code, reason = "the tests of the Hub do more with it")]
pub(crate) mod site;

use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the runner lies in core/ of the repository")
}

/// A file of the shipped checkpoint, or its folder.
pub(crate) fn fixture(file: &str) -> PathBuf {
    let folder = repository().join("architectures/gpt2/fixtures/tiny");
    if file.is_empty() {
        folder
    } else {
        folder.join(file)
    }
}
