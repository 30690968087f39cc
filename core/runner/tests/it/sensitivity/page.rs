//! `docs/sensitivity.md`, between its marks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::laboratory;
use crate::support::repository;
use crate::support::shipped_config::shipped_config;

/// What became of one mistake over all models.
#[derive(Default)]
struct Row {
    feature: String,
    description: String,
    applicable: usize,
    caught: usize,
    missed: Vec<String>,
    /// Where no input shows it.
    nowhere: usize,
    benchmarks: BTreeSet<String>,
    by_tolerance: usize,
    by_cosine: usize,
}

/// The least cosine of logits that other suites are content with.
const COSINE: f64 = 0.99;

impl Row {
    fn add(&mut self, model: &str, judged: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.feature = text(&judged["fault"]["feature"]);
        self.description = text(&judged["fault"]["description"]);
        self.applicable += 1;
        match judged["outcome"].as_str().unwrap() {
            "caught" | "refused" => self.caught += 1,
            "missed" => self.missed.push(model.to_owned()),
            "moves_nothing" => self.nowhere += 1,
            _ => self.missed.push(model.to_owned()),
        }
        let seen = judged["seen_by"].as_object().into_iter().flatten();
        self.benchmarks
            .extend(seen.map(|(benchmark, _)| benchmark.clone()));
        let logits = &judged["by_logits"];
        self.by_tolerance += usize::from(logits["outside_tolerance"].as_u64().unwrap_or(0) > 0);
        // What is no number is far from the truth.
        let cosine = logits["cosine"].as_f64().unwrap_or(f64::NEG_INFINITY);
        self.by_cosine += usize::from(logits.is_object() && cosine <= COSINE);
    }

    fn line(&self, fault: &str) -> String {
        let Self {
            feature,
            description,
            applicable,
            caught,
            nowhere,
            by_tolerance,
            by_cosine,
            ..
        } = self;
        let excitable = applicable - nowhere;
        let missed = self.missed.join(", ");
        let benchmarks = self.benchmarks.len();
        format!(
            "| {fault} | {feature} | {description} | {caught} of {excitable} | {benchmarks} | {by_tolerance} | {by_cosine} | {missed} |"
        )
    }
}

/// Every mistake over the models that `is_meant`, by its id.
fn rows(is_meant: impl Fn(&str) -> bool) -> BTreeMap<String, Row> {
    let test = laboratory();
    let config = shipped_config();
    test.write("tlbench.toml", toml::to_string(&config).unwrap());
    let mut rows = BTreeMap::<String, Row>::new();
    for entry in config["models"].as_array().unwrap() {
        let model = entry["name"].as_str().unwrap();
        if !is_meant(model) {
            continue;
        }
        let run = test.run([
            "sensitivity",
            model,
            "--complete",
            "--quiet",
            "--format",
            "json",
        ]);
        for judged in run.events("fault_judged") {
            let fault = judged["fault"]["id"].as_str().unwrap().to_owned();
            rows.entry(fault).or_default().add(model, &judged);
        }
    }
    rows
}

fn table(rows: &BTreeMap<String, Row>) -> String {
    let mut table = "| fault | about | the model has | caught | benchmarks | tolerance | cosine | missed on |\n\
                     | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (fault, row) in rows {
        let _ = writeln!(table, "{}", row.line(fault));
    }
    table + &total(rows)
}

fn total(rows: &BTreeMap<String, Row>) -> String {
    let sum = |part: fn(&Row) -> usize| rows.values().map(part).sum::<usize>();
    let excitable = sum(|row| row.applicable - row.nowhere);
    let share = |count: usize| 100.0 * count as f64 / excitable.max(1) as f64;
    let [caught, tolerance, cosine] = [
        sum(|row| row.caught),
        sum(|row| row.by_tolerance),
        sum(|row| row.by_cosine),
    ];
    format!(
        "\nOf {excitable} that some input shows, the suite catches {caught} ({:.1}%), fixed tolerances of the logits \
         {tolerance} ({:.1}%), a cosine of the logits {cosine} ({:.1}%). {} more move nothing on any input that was tried.\n",
        share(caught),
        share(tolerance),
        share(cosine),
        sum(|row| row.nowhere),
    )
}

fn page() -> PathBuf {
    repository().join("docs/sensitivity.md")
}

#[test]
#[ignore = "takes many minutes: it writes docs/sensitivity.md"]
fn the_page_shows_what_the_suite_notices() {
    let is_second = |model: &str| model.ends_with("-second-opinion");
    let mut text = fs::read_to_string(page()).unwrap();
    for (mark, rows) in [
        ("huggingface", rows(|model| !is_second(model))),
        ("hooked-transformer", rows(is_second)),
    ] {
        let [begin, end] = [
            format!("<!-- {mark} -->\n"),
            format!("<!-- end of {mark} -->\n"),
        ];
        let (before, rest) = text.split_once(&begin).expect(mark);
        let (_, after) = rest.split_once(&end).expect(mark);
        text = format!("{before}{begin}\n{}\n{end}{after}", table(&rows));
    }
    fs::write(page(), text).unwrap();
}
