//! Which words stand where.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::cli_test::CliTest;
use crate::support::repository;

/// A source file without comments and tests.
struct Source {
    /// From the repository's root.
    path: String,
    code: String,
}

impl Source {
    fn has_word(&self, word: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// What is shipped of `folders`.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&repository().join(folder), &mut files);
    }
    assert!(!files.is_empty());
    let source = |file: &PathBuf| Source {
        path: file
            .strip_prefix(repository())
            .unwrap()
            .display()
            .to_string(),
        code: code(&fs::read_to_string(file).unwrap()),
    };
    files.iter().map(source).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match (path.is_dir(), name.as_str()) {
            (true, "tests" | "benches" | "examples" | "target") | (false, "tests.rs") => {}
            (true, _) => collect(&path, files),
            (false, name) if name.ends_with(".rs") => files.push(path),
            (false, _) => {}
        }
    }
}

/// `text` up to its tests, which stand last, without comments.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines();
    lines
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The sources among `sources` that have `word` and do not lie in one of `places`.
fn strays<'a>(sources: &'a [Source], word: &str, places: &[&str]) -> Vec<&'a str> {
    sources
        .iter()
        .filter(|source| source.has_word(word) && !source.is_in(places))
        .map(|source| source.path.as_str())
        .collect()
}

const ALL: [&str; 3] = ["core", "architectures", "plugins"];
const LOADER: &str = "core/runner/src/plugins/load.rs";

#[test]
fn only_the_boundary_names_abi_stable() {
    assert_eq!(
        strays(&sources(&ALL), "abi_stable", &["core/sdk/src/abi/"]),
        [""; 0]
    );
}

#[test]
fn only_the_loader_names_libloading() {
    assert_eq!(strays(&sources(&ALL), "libloading", &[LOADER]), [""; 0]);
}

#[test]
fn only_boundary_and_loader_are_unsafe() {
    let places = ["core/sdk/src/abi/", LOADER];
    let mut sources = sources(&ALL);
    for source in &mut sources {
        // An attribute that exports a symbol; the expansion of `plugin!` needs two.
        source.code = source.code.replace("#[unsafe(export_name", "");
    }
    assert_eq!(strays(&sources, "unsafe", &places), [""; 0]);
}

#[test]
fn plugins_never_print_and_never_exit() {
    let sources = sources(&["architectures", "plugins"]);
    for word in [
        "println",
        "eprintln",
        "print",
        "eprint",
        "dbg",
        "exit",
        "set_logger",
    ] {
        assert_eq!(strays(&sources, word, &[]), [""; 0], "{word}");
    }
}

#[test]
fn candle_is_named_by_who_computes_with_it() {
    let places = [
        "core/engine/",
        "plugins/references/hf-candle/",
        "plugins/references/hooked-transformer/",
    ];
    let sources = sources(&ALL);
    let named: BTreeSet<&str> = sources
        .iter()
        .filter(|source| source.code.contains("candle_"))
        .map(|source| source.path.as_str())
        .collect();
    for place in places {
        let here = named.iter().any(|path| path.starts_with(place));
        assert!(here, "{place}");
    }
    for path in named {
        assert!(places.iter().any(|place| path.starts_with(place)), "{path}");
    }
}

#[test]
fn the_second_opinion_shares_no_code_with_the_engine() {
    let words = ["tlbench_engine", "candle_nn", "softmax_last_dim"];
    let sources = sources(&["plugins/references/hooked-transformer"]);
    assert!(!sources.is_empty());
    for word in words {
        assert_eq!(strays(&sources, word, &[]), [""; 0], "{word}");
    }
}

/// The ids, and for architectures the model types, that the shipped plugins offer.
fn offered(kind: &str) -> BTreeSet<String> {
    let list = CliTest::new()
        .run(["list", "--format", "json"])
        .exits(0)
        .json();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let offers = list[kind].as_array().unwrap().clone();
    offers
        .iter()
        .map(|offer| &offer["info"])
        .flat_map(|info| {
            let types = info["model_types"].as_array().cloned().unwrap_or_default();
            let ids = [&info["id"], &info["module"]].into_iter().filter_map(text);
            ids.chain(types.iter().filter_map(text)).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn no_architecture_is_named_in_core() {
    let names = offered("architectures");
    assert!(!names.is_empty());
    for source in sources(&["core"]) {
        let code = source.code.to_lowercase().replace('_', "");
        for name in &names {
            assert!(!code.contains(name), "{} names {name}", source.path);
        }
    }
}

#[test]
fn no_benchmark_is_named_in_core() {
    let (names, sources) = (offered("benchmarks"), sources(&["core"]));
    assert!(!names.is_empty());
    for name in &names {
        assert_eq!(strays(&sources, name, &[]), [""; 0], "{name}");
    }
}
