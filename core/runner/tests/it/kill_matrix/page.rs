//! The page: what is written by hand, and between marks what the runs have shown.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::runs::{Benchmark, Judged};
use super::{Kills, benchmarks};
use crate::support::repository;

/// The heading above the benchmarks that see nothing alone.
const REASONS: &str = "## Why a benchmark is there that sees nothing alone";

/// The text of the page.
#[derive(PartialEq)]
pub(super) struct Page(String);

fn path() -> PathBuf {
    repository().join("docs/kill-matrix.md")
}

impl Page {
    pub(super) fn read() -> Self {
        Self(fs::read_to_string(path()).unwrap())
    }

    /// In one step, as others read it meanwhile.
    pub(super) fn write(&self) {
        let new = path().with_extension("new");
        fs::write(&new, &self.0).unwrap();
        fs::rename(new, path()).unwrap();
    }

    /// The same with what `judged` shows between its marks.
    pub(super) fn showing(&self, judged: &[Judged]) -> Self {
        let blocks = [
            ("faults", faults(judged)),
            ("benchmarks", numbered(judged)),
            ("matrix", matrix(judged)),
        ];
        let page = blocks.iter().fold(self.0.clone(), |page, (name, block)| {
            let [begin, end] = [
                format!("<!-- {name} -->\n"),
                format!("<!-- end of {name} -->\n"),
            ];
            let (before, rest) = page.split_once(&begin).expect(name);
            let (_, after) = rest.split_once(&end).expect(name);
            format!("{before}{begin}\n{block}\n{end}{after}")
        });
        Self(page)
    }

    /// The benchmarks that the page gives a reason for: the names at the beginning of a list's entries.
    pub(super) fn reasons(&self) -> BTreeSet<String> {
        let (_, below) = self.0.split_once(REASONS).expect(REASONS);
        let section = below.split("\n## ").next().unwrap_or(below);
        let entries = section.lines().filter_map(|line| line.strip_prefix("- "));
        let names = |entry: &str| -> Vec<String> {
            let (names, _) = entry.split_once(':').expect(entry);
            let names = names
                .split(", ")
                .map(|name| name.trim_matches('`').to_owned());
            names.collect()
        };
        entries.flat_map(names).collect()
    }

    /// The lines that are in one of the two and not in the other.
    pub(super) fn difference(&self, other: &Self) -> String {
        let lines =
            |page: &Self| -> BTreeSet<String> { page.0.lines().map(str::to_owned).collect() };
        let (here, there) = (lines(self), lines(other));
        let lost = here.difference(&there).map(|line| format!("-{line}"));
        let new = there.difference(&here).map(|line| format!("+{line}"));
        lost.chain(new).collect::<Vec<_>>().join("\n")
    }
}

/// What each fault is.
fn faults(judged: &[Judged]) -> String {
    let mut table = "| fault | the subject has |\n| --- | --- |\n".to_owned();
    for run in judged {
        let _ = writeln!(table, "| {} | {} |", run.id, run.description);
    }
    table
}

/// The benchmarks with their numbers in the matrix, and how much each sees.
fn numbered(judged: &[Judged]) -> String {
    let mut table =
        "| | module | benchmark | faults seen | alone |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (index, benchmark) in benchmarks(judged).into_iter().enumerate() {
        let Kills { all, alone } = Kills::of(benchmark, judged);
        let Benchmark { module, name } = benchmark;
        let (number, count, alone) = (index + 1, all.len(), alone.join(", "));
        let _ = writeln!(
            table,
            "| {number} | {module} | {name} | {count} | {alone} |"
        );
    }
    table
}

/// The number of red checks of each benchmark for each fault.
fn matrix(judged: &[Judged]) -> String {
    let benchmarks = benchmarks(judged);
    let numbers = (1..=benchmarks.len()).map(|number| number.to_string());
    let mut table = row("", numbers);
    table += &row("---", benchmarks.iter().map(|_| "--:".to_owned()));
    for run in judged {
        let red = |benchmark: &&Benchmark| {
            let count = run.red.get(*benchmark).map(ToString::to_string);
            count.unwrap_or_default()
        };
        table += &row(&run.id, benchmarks.iter().map(red));
    }
    table
}

fn row(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {first} | {} |\n", cells.join(" | "))
}
