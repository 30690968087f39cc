//! Tells the stamp what it is built with.

use std::env;
use std::process::Command;

fn main() {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(
            || "rustc of unknown version".into(),
            |text| text.trim().to_owned(),
        );
    let target = env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=TLBENCH_RUSTC={version}");
    println!("cargo::rustc-env=TLBENCH_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
}
