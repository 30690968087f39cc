//! Which mistake which benchmark sees: `docs/kill-matrix.md`.
//!
//! Every fault is in the subject alone, and judged by the binary with all that the shipped config asks for. Those that the zoo
//! of the plugins has come from there.

mod page;
mod runs;
mod zoo;

use std::collections::BTreeSet;

use page::Page;
use runs::{Benchmark, Judged, judged};

/// Rewrites the page instead of comparing it.
const BLESS: &str = "TLBENCH_BLESS";

/// All benchmarks, by module.
fn benchmarks(judged: &[Judged]) -> BTreeSet<&Benchmark> {
    judged.iter().flat_map(|run| run.planned.iter()).collect()
}

/// The faults that make a benchmark red.
struct Kills<'a> {
    all: Vec<&'a str>,
    /// Those that no other benchmark sees.
    alone: Vec<&'a str>,
}

impl<'a> Kills<'a> {
    fn of(benchmark: &Benchmark, judged: &'a [Judged]) -> Self {
        let sees = |run: &&Judged| run.red.contains_key(benchmark);
        let seen: Vec<&Judged> = judged.iter().filter(sees).collect();
        let alone = seen.iter().filter(|run| run.red.len() == 1);
        Self {
            alone: alone.map(|run| run.id.as_str()).collect(),
            all: seen.iter().map(|run| run.id.as_str()).collect(),
        }
    }
}

#[test]
fn without_a_fault_nothing_is_red_and_what_is_skipped_says_why() {
    let none = &judged()[0];
    assert_eq!(none.id, "none");
    insta::assert_snapshot!(none.unpassed.join("\n"));
}

#[test]
fn every_fault_is_seen() {
    let faulty = judged().iter().skip(1);
    let unseen: Vec<&str> = faulty
        .filter(|run| run.red.is_empty())
        .map(|run| run.id.as_str())
        .collect();
    assert_eq!(unseen, [""; 0]);
}

#[test]
fn every_benchmark_sees_a_fault() {
    let blind: Vec<&Benchmark> = benchmarks(judged())
        .into_iter()
        .filter(|benchmark| Kills::of(benchmark, judged()).all.is_empty())
        .collect();
    assert_eq!(blind, Vec::<&Benchmark>::new());
}

#[test]
fn a_benchmark_that_sees_nothing_alone_says_why_it_is_there() {
    let not_alone: BTreeSet<String> = benchmarks(judged())
        .into_iter()
        .filter(|benchmark| Kills::of(benchmark, judged()).alone.is_empty())
        .map(|benchmark| benchmark.name.clone())
        .collect();
    assert_eq!(Page::read().reasons(), not_alone);
}

#[test]
fn the_page_shows_what_the_suite_sees() {
    let page = Page::read();
    let expected = page.showing(judged());
    if std::env::var_os(BLESS).is_some() {
        expected.write();
        return;
    }
    assert!(
        page == expected,
        "docs/kill-matrix.md is not what the suite sees; {BLESS}=1 rewrites it:\n{}",
        page.difference(&expected)
    );
}
