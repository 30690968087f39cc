//! The config that is shipped, `tlbench.toml`.

use std::fs;
use std::path::PathBuf;

use toml::Table;

use super::repository;

/// With folders that are found from anywhere.
pub(crate) fn shipped_config() -> Table {
    let text = fs::read_to_string(repository().join("tlbench.toml")).unwrap();
    let mut config: Table = text.parse().unwrap();
    for model in config["models"].as_array_mut().unwrap() {
        let path = repository().join(model["path"].as_str().unwrap());
        let path = path.display().to_string();
        model
            .as_table_mut()
            .unwrap()
            .insert("path".into(), path.into());
    }
    config
}

/// The crates of the references that need no Python, and of all benchmarks that `config` names.
pub(crate) fn plugins_of(config: &Table) -> Vec<String> {
    let modules = config["benchmarks"].as_array().unwrap().iter();
    let modules = modules.map(|entry| entry["name"].as_str().unwrap().trim_end_matches("/*"));
    let references = ["hf_recorded", "hooked_transformer"].into_iter();
    let named = references.chain(modules);
    named.map(|name| format!("tlbench_{name}")).collect()
}

/// The crates of all families.
pub(crate) fn families() -> Vec<String> {
    let folders = fs::read_dir(repository().join("architectures")).unwrap();
    let manifests = folders.map(|folder| folder.unwrap().path().join("Cargo.toml"));
    let crates = manifests.filter(|manifest| manifest.exists());
    let name = |manifest: PathBuf| {
        let family = manifest.parent().unwrap().file_name().unwrap();
        format!("tlbench_{}", family.to_str().unwrap())
    };
    crates.map(name).collect()
}
