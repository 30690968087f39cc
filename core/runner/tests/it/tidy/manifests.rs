//! What depends on what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::support::repository;

fn read(path: &Path) -> Table {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// The packages of a `Cargo.lock`: version and dependencies by name. Two versions of one package are one entry each.
fn locked(path: &Path) -> Vec<(String, String, Vec<String>)> {
    let lock = read(path);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let package = |package: &Value| {
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        let names = dependencies.into_iter().flatten().map(|dependency| {
            let dependency = text(dependency);
            // A version follows where there are several.
            dependency.split(' ').next().unwrap_or_default().to_owned()
        });
        (
            text(&package["name"]),
            text(&package["version"]),
            names.collect(),
        )
    };
    lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(package)
        .collect()
}

/// Everything that `package` is built from.
fn closure(package: &str) -> BTreeSet<String> {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, _, dependencies) in locked(&repository().join("Cargo.lock")) {
        by_name.entry(name).or_default().extend(dependencies);
    }
    let (mut seen, mut open) = (BTreeSet::new(), vec![package.to_owned()]);
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            open.extend(by_name.get(&name).cloned().unwrap_or_default());
        }
    }
    seen
}

/// The manifests in the folders of `folder`.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(folder)).unwrap();
    let manifests: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path().join("Cargo.toml"))
        .filter(|manifest| manifest.is_file())
        .collect();
    assert!(!manifests.is_empty(), "{folder}");
    manifests
}

/// The folders of `manifests` that have `name` among their dependencies.
fn dependents(manifests: &[PathBuf], name: &str) -> Vec<String> {
    let names = |manifest: &&PathBuf| {
        let table = read(manifest);
        ["dependencies", "dev-dependencies", "build-dependencies"]
            .iter()
            .filter_map(|kind| table.get(*kind)?.as_table())
            .any(|dependencies| dependencies.contains_key(name))
    };
    let folder = |manifest: &PathBuf| {
        let folder = manifest.parent().unwrap().strip_prefix(repository());
        folder.unwrap().display().to_string()
    };
    manifests.iter().filter(names).map(folder).collect()
}

fn all_manifests() -> Vec<PathBuf> {
    [
        "core",
        "architectures",
        "plugins/benchmarks",
        "plugins/references",
    ]
    .iter()
    .flat_map(|folder| manifests(folder))
    .collect()
}

#[test]
fn abi_stable_and_libloading_have_one_dependent_each() {
    assert_eq!(dependents(&all_manifests(), "abi_stable"), ["core/sdk"]);
    assert_eq!(dependents(&all_manifests(), "libloading"), ["core/runner"]);
}

#[test]
fn only_the_runner_reaches_the_network_and_only_through_the_hub() {
    assert_eq!(dependents(&all_manifests(), "tlbench-hub"), ["core/runner"]);
    assert_eq!(dependents(&all_manifests(), "ureq"), ["core/hub"]);
    let ours = closure("tlbench-hub");
    let ours: Vec<_> = ours
        .iter()
        .filter(|name| name.starts_with("tlbench"))
        .collect();
    // Beside the engine, and not on top of it.
    assert_eq!(ours, ["tlbench-checkpoint", "tlbench-hub", "tlbench-sdk"]);
}

#[test]
fn architectures_and_benchmarks_are_built_without_candle() {
    let plugins: Vec<PathBuf> = ["architectures", "plugins/benchmarks"]
        .iter()
        .flat_map(|folder| manifests(folder))
        .collect();
    for manifest in plugins {
        let name = read(&manifest)["package"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        let packages = closure(&name);
        assert!(packages.contains("tlbench-sdk"), "{name}");
        let candle: Vec<_> = packages
            .iter()
            .filter(|p| p.starts_with("candle"))
            .collect();
        assert_eq!(candle, Vec::<&String>::new(), "{name}");
    }
}

#[test]
fn dependencies_point_one_way() {
    let sees = |package: &str, other: &str| closure(package).contains(other);
    for above in ["tlbench-checkpoint", "tlbench-engine", "tlbench"] {
        assert!(!sees("tlbench-sdk", above), "the SDK sees {above}");
    }
    for above in ["tlbench-engine", "tlbench"] {
        assert!(
            !sees("tlbench-checkpoint", above),
            "the checkpoint sees {above}"
        );
    }
    assert!(
        !sees("tlbench-engine", "tlbench"),
        "the engine sees the runner"
    );
}

#[test]
fn the_plugins_for_the_tests_are_locked_to_the_same_versions() {
    let ours: BTreeSet<(String, String)> = locked(&repository().join("Cargo.lock"))
        .into_iter()
        .map(|(name, version, _)| (name, version))
        .collect();
    let lock = repository().join("core/runner/tests/plugins/Cargo.lock");
    let own = manifests("core/runner/tests/plugins");
    let own: BTreeSet<String> = own
        .iter()
        .map(|manifest| {
            read(manifest)["package"]["name"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let differing: Vec<_> = locked(&lock)
        .into_iter()
        .map(|(name, version, _)| (name, version))
        .filter(|package| !own.contains(&package.0) && !ours.contains(package))
        .collect();
    assert_eq!(differing, Vec::new());
}

#[test]
fn the_plugins_for_the_tests_are_built_with_the_same_profile() {
    let ours = read(&repository().join("Cargo.toml"));
    let theirs = read(&repository().join("core/runner/tests/plugins/Cargo.toml"));
    let release = |manifest: &Table| manifest["profile"]["release"].as_table().unwrap().clone();
    let (mut ours, theirs) = (release(&ours), release(&theirs));
    // They have no other crates of ours among them than the SDK.
    let packages = ours["package"].as_table_mut().unwrap();
    packages.retain(|name, _| ["*", "tlbench-sdk"].contains(&name));
    assert_eq!(theirs, ours);
}
