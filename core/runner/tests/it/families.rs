//! Every checkpoint that is shipped, judged as the shipped config has it: `docs/families.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::built::plugin;
use crate::support::cli_test::CliTest;
use crate::support::repository;
use crate::support::shipped_config::{families, plugins_of, shipped_config};

/// Rewrites the page instead of comparing it.
const BLESS: &str = "TLBENCH_BLESS";

/// What is measured, by the words of a report: its column's name, the beginning of the quantity, the evaluation.
const COLUMNS: [(&str, &str, Option<&str>); 5] = [
    ("hooks, locally", "hook:", Some("local")),
    ("hooks", "hook:", Some("cumulative")),
    ("gradients of hooks", "hook_grad:", None),
    ("gradients of parameters", "param_grad:", None),
    ("logits", "logits", None),
];

/// The share of checks that may warn, whose inputs a single position dominates, say.
const WARNINGS: f64 = 0.001;

/// What a run of the shipped config has shown of one model.
#[derive(Default)]
struct Judged {
    /// By column and whether there were 8 rows.
    worst: BTreeMap<(&'static str, bool), f64>,
    /// By severity.
    checks: BTreeMap<String, usize>,
}

fn judged() -> &'static BTreeMap<String, Judged> {
    static JUDGED: OnceLock<BTreeMap<String, Judged>> = OnceLock::new();
    JUDGED.get_or_init(|| {
        let config = shipped_config();
        let plugins = plugins_of(&config).into_iter().chain(families());
        let test = plugins.fold(CliTest::without_plugins(), |test, name| {
            test.plugin(plugin(&name))
        });
        test.write("tlbench.toml", toml::to_string(&config).unwrap());
        let run = test.run(["--format", "json", "--quiet"]);
        let mut judged = BTreeMap::<String, Judged>::new();
        for check in run.events("check_finished") {
            let model = check["check"]["model"].as_str().unwrap().to_owned();
            judged.entry(model).or_default().add(&check);
        }
        judged
    })
}

impl Judged {
    fn add(&mut self, check: &Value) {
        let severity = check["severity"].as_str().unwrap().to_owned();
        *self.checks.entry(severity).or_default() += 1;
        for measured in check["measurements"].as_array().unwrap() {
            let quantity = measured["quantity"].as_str().unwrap_or_default();
            let column = COLUMNS.iter().find(|(_, prefix, evaluation)| {
                quantity.starts_with(prefix)
                    && evaluation.is_none_or(|evaluation| measured["evaluation"] == evaluation)
            });
            let (Some((column, ..)), false) = (column, measured["ratio"].is_null()) else {
                continue;
            };
            let is_long = measured["difference"]["rows"].as_u64().unwrap_or_default() >= 8;
            // What is no number is infinite or none, and larger than any that passes.
            let ratio = measured["ratio"].as_f64().unwrap_or(f64::INFINITY);
            let worst = self.worst.entry((column, is_long)).or_default();
            *worst = worst.max(ratio);
        }
    }

    fn row(&self, model: &str) -> String {
        let cell = |column| {
            let worst = |is_long| self.worst.get(&(column, is_long));
            match (worst(true), worst(false)) {
                (None, None) => String::new(),
                (Some(long), None) => format!("{long:.2}"),
                (None, Some(short)) => format!("({short:.2})"),
                (Some(long), Some(short)) => format!("{long:.2} ({short:.2})"),
            }
        };
        let cells: Vec<String> = COLUMNS.iter().map(|(column, ..)| cell(column)).collect();
        let count = |severity: &str| self.checks.get(severity).copied().unwrap_or_default();
        let (passed, skipped) = (count("info") + count("warning"), count("skipped"));
        let all: usize = self.checks.values().sum();
        format!(
            "| {model} | {} | {passed} of {all} | {skipped} |",
            cells.join(" | ")
        )
    }
}

fn page() -> PathBuf {
    repository().join("docs/families.md")
}

const MARKS: [&str; 2] = ["<!-- ratios -->\n", "<!-- end of ratios -->\n"];

/// The page before, between and after its marks.
fn parts(page: &str) -> [&str; 3] {
    let [begin, end] = MARKS;
    let (before, rest) = page.split_once(begin).expect(begin);
    let (between, after) = rest.split_once(end).expect(end);
    [before, between, after]
}

fn table() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
    let mut table = format!(
        "\n| model | {} | checks passed | skipped |\n",
        names.join(" | ")
    );
    let _ = writeln!(table, "| --- |{}", " --- |".repeat(COLUMNS.len() + 2));
    for (model, judged) in judged() {
        let _ = writeln!(table, "{}", judged.row(model));
    }
    table + "\n"
}

#[test]
fn every_checkpoint_that_is_shipped_is_in_the_shipped_config() {
    let folders = fs::read_dir(repository().join("architectures")).unwrap();
    let fixtures =
        folders.filter_map(|folder| fs::read_dir(folder.unwrap().path().join("fixtures")).ok());
    let shipped: BTreeSet<PathBuf> = fixtures
        .flatten()
        .map(|folder| folder.unwrap().path())
        .filter(|folder| folder.join("config.json").exists())
        .collect();
    let config = shipped_config();
    let models = config["models"].as_array().unwrap().iter();
    let named: BTreeSet<PathBuf> = models
        .map(|model| model["path"].as_str().unwrap().into())
        .collect();
    assert_eq!(named, shipped);
}

#[test]
fn every_checkpoint_passes_and_hardly_any_check_warns() {
    let count = |severity| -> usize {
        let counts = judged()
            .values()
            .filter_map(|judged| judged.checks.get(severity));
        counts.sum()
    };
    let all: usize = judged()
        .values()
        .flat_map(|judged| judged.checks.values())
        .sum();
    assert_eq!((count("danger"), count("error")), (0, 0));
    let warnings = count("warning");
    assert!(
        warnings as f64 <= WARNINGS * all as f64,
        "{warnings} warnings of {all} checks"
    );
}

/// Ratios differ in their digits from machine to machine, so that models and numbers of checks are compared.
#[test]
fn the_page_shows_every_model() {
    let text = fs::read_to_string(page()).unwrap();
    let [before, between, after] = parts(&text);
    let expected = table();
    if std::env::var_os(BLESS).is_some() {
        let [begin, end] = MARKS;
        fs::write(page(), format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    let without_ratios = |table: &str| -> Vec<String> {
        let rows = table
            .lines()
            .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        rows.map(|cells| match cells.as_slice() {
            [_, model, .., passed, skipped, _] => format!("{model}: {passed}, {skipped}"),
            _ => String::new(),
        })
        .collect()
    };
    assert_eq!(
        without_ratios(between),
        without_ratios(&expected),
        "docs/families.md is not what the suite shows; {BLESS}=1 rewrites it"
    );
}
