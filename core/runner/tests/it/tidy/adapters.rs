//! How long an adapter is.

use std::fs;
use std::path::Path;

use crate::support::repository;

/// Lines per class of HF's.
const LIMIT: usize = 150;

/// Lines of Rust in the folder, all of whose sources are in it alone.
fn lines(folder: &Path) -> usize {
    let sources = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let lengths = sources.map(|source| fs::read_to_string(source.path()).unwrap().lines().count());
    lengths.sum()
}

/// Of the table in ARCHITECTURE.md: name, lines, classes.
fn listed() -> Vec<(String, usize, usize)> {
    let page = fs::read_to_string(repository().join("docs/ARCHITECTURE.md")).unwrap();
    let header = "| architecture | lines | HF's classes |\n| --- | --- | --- |\n";
    let (_, table) = page.split_once(header).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, lines, classes] = cells[..] else {
            panic!("{line}")
        };
        let count = |cell: &str| cell.parse().unwrap();
        (name.to_owned(), count(lines), count(classes))
    };
    rows.map(row).collect()
}

#[test]
fn every_adapter_is_as_long_as_the_page_says_and_no_class_takes_more_than_150_lines() {
    let architectures = repository().join("architectures");
    let folders = fs::read_dir(&architectures).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path().join("src"));
    let there = folders.filter(|source| source.is_dir()).count();
    let listed = listed();
    assert_eq!(listed.len(), there);
    for (name, said, classes) in listed {
        let found = lines(&architectures.join(&name).join("src"));
        assert_eq!(found, said, "{name}");
        assert!(
            found <= LIMIT * classes,
            "{name}: {found} lines, {classes} classes"
        );
    }
}
