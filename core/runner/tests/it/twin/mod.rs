//! `tlbench twin`, on configs as the Hub has them and on those that are shipped.

mod command;
mod errors;
mod laws;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::built::plugin;
use crate::support::cli_test::CliTest;
use crate::support::repository;

/// A model of which there is no more than the config.
pub(crate) struct Named {
    name: String,
    config: String,
}

/// Models as the Hub has them.
fn large() -> Vec<Named> {
    let folder = repository().join("core/runner/tests/it/twin/configs");
    let named = |path: PathBuf| Named {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        config: fs::read_to_string(path).unwrap(),
    };
    entries(&folder).into_iter().map(named).collect()
}

/// The checkpoints that are shipped.
fn shipped() -> Vec<Named> {
    let families = entries(&repository().join("architectures"));
    let fixtures = families.iter().map(|family| family.join("fixtures"));
    let checkpoints = fixtures
        .filter(|folder| folder.is_dir())
        .flat_map(|f| entries(&f));
    let configs = checkpoints.map(|folder| folder.join("config.json"));
    configs
        .filter(|file| file.is_file())
        .map(|file| Named {
            name: file.display().to_string(),
            config: fs::read_to_string(file).unwrap(),
        })
        .collect()
}

/// What lies in `folder`, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The plugins of all families.
fn architectures() -> Vec<PathBuf> {
    let families = entries(&repository().join("architectures"));
    let crates = families
        .iter()
        .filter(|folder| folder.join("Cargo.toml").exists());
    let name = |folder: &PathBuf| folder.file_name().unwrap().to_str().unwrap().to_owned();
    crates
        .map(|folder| plugin(&format!("tlbench_{}", name(folder))).to_owned())
        .collect()
}

/// The command with all families, and with `large()` as folders that hold a config alone.
fn test() -> CliTest {
    let test = architectures()
        .into_iter()
        .fold(CliTest::without_plugins(), CliTest::plugin);
    for model in large() {
        test.write(&format!("{}/config.json", model.name), model.config);
    }
    test
}
