//! Where cargo put the binary and the plugins. Its own messages say so: a guessed path may hold a stale file.

use std::collections::BTreeMap;
use std::env::consts::DLL_EXTENSION;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::Value;

use super::repository;

/// What cargo built last, by the name of the crate.
type Artifacts = BTreeMap<String, PathBuf>;

/// The plugins that are shipped.
pub(crate) const SHIPPED: [&str; 5] = [
    "tlbench_forward_pass",
    "tlbench_gpt2",
    "tlbench_hf_python",
    "tlbench_hf_recorded",
    "tlbench_hooked_transformer",
];

/// The command `tlbench`.
pub(crate) fn binary() -> &'static Path {
    find(shipped(), "tlbench")
}

/// A plugin that is shipped.
pub(crate) fn plugin(name: &str) -> &'static Path {
    find(shipped(), name)
}

/// One of the runner's examples.
pub(crate) fn example(name: &str) -> &'static Path {
    static BUILT: OnceLock<Artifacts> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut build = cargo("build", &repository().join("Cargo.toml"));
        build.args(["--workspace", "--examples"]);
        run(build)
    });
    find(built, name)
}

/// A plugin of the workspace in `tests/plugins`.
pub(crate) fn test_plugin(name: &str) -> &'static Path {
    find(for_tests(), name)
}

/// A plugin of that workspace, built with `panic = "abort"`.
pub(crate) fn aborting_plugin() -> &'static Path {
    static BUILT: OnceLock<Artifacts> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut rustc = cargo("rustc", &test_workspace());
        // Its dependencies unwind, as std does in such a build; what counts is the plugin's own strategy.
        rustc.args(["--locked", "--package", "aborts", "--", "-C", "panic=abort"]);
        run(rustc)
    });
    find(built, "aborts")
}

/// The whole workspace as `cargo build --release` makes it. The cargo that runs the tests has let go of the build
/// folder by now, and built most of it.
fn shipped() -> &'static Artifacts {
    static BUILT: OnceLock<Artifacts> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = cargo("build", &repository().join("Cargo.toml"));
        build.arg("--workspace");
        run(build)
    })
}

/// The plugins for the tests. They share the target folder, and so the dependencies that are built already; none of
/// their names has `tlbench_` in it, so nobody who scans that folder takes them for plugins to load.
fn for_tests() -> &'static Artifacts {
    static BUILT: OnceLock<Artifacts> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = cargo("build", &test_workspace());
        build.arg("--locked");
        run(build)
    })
}

fn test_workspace() -> PathBuf {
    repository().join("core/runner/tests/plugins/Cargo.toml")
}

fn cargo(command: &str, manifest: &Path) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo's folder for tests lies in the target folder");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([command, "--release", "--message-format=json"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target);
    cargo
}

fn run(mut cargo: Command) -> Artifacts {
    let started = Instant::now();
    let output = cargo
        .stdin(Stdio::null())
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{cargo:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!("{:.1} s for {cargo:?}", started.elapsed().as_secs_f64());
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    messages
        .lines()
        .map(|line| serde_json::from_str(line).expect("cargo writes JSON"))
        .filter_map(|message: Value| artifact(&message))
        .collect()
}

/// The crate and the file, if `message` is about a binary or a dynamic library.
fn artifact(message: &Value) -> Option<(String, PathBuf)> {
    let target = message.get("target")?;
    let name = target["name"].as_str()?.to_owned();
    let is_test = message["profile"]["test"].as_bool()?;
    let files = message["filenames"].as_array()?.iter();
    let file = if target["kind"] == serde_json::json!(["cdylib"]) {
        files
            .filter_map(|file| file.as_str().map(PathBuf::from))
            .find(|file| file.extension() == Some(OsStr::new(DLL_EXTENSION)))?
    } else {
        message["executable"].as_str()?.into()
    };
    (!is_test).then_some((name, file))
}

fn find(artifacts: &'static Artifacts, name: &str) -> &'static Path {
    artifacts
        .get(name)
        .unwrap_or_else(|| panic!("cargo built no `{name}`, but {:?}", artifacts.keys()))
}
