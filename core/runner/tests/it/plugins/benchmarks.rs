//! Benchmarks that break the rules: an ERROR each, never a pass, and the others go on.

use crate::support::built::test_plugin;
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;

/// A run of `benchmarks`.
fn judged(benchmarks: &[&str], arguments: &[&str]) -> (CliTest, Run) {
    let test = CliTest::new().plugin(test_plugin("hostile"));
    let model = fixture("").display().to_string();
    let selected = benchmarks.iter().flat_map(|name| ["--benchmark", *name]);
    let all = ["--model", &model, "--quiet"].into_iter().chain(selected);
    let run = test.run(all.chain(arguments.iter().copied()));
    (test, run)
}

/// What became of each check.
fn checks(benchmarks: &[&str], arguments: &[&str]) -> (CliTest, String) {
    let json = ["--format", "json"].iter().chain(arguments);
    let json: Vec<&str> = json.copied().collect();
    let (test, run) = judged(benchmarks, &json);
    (test, run.exits(101).checks().join("\n"))
}

#[test]
fn plans() {
    let (_test, told) = checks(
        &[
            "plans_nothing",
            "plans_twice",
            "plans_strange_variant",
            "plans_reserved_variant",
            "loss_equivalence",
        ],
        &[],
    );
    insta::assert_snapshot!(told);
}

#[test]
fn a_plan_of_thousands_of_checks() {
    let (_test, run) = judged(&["plans_thousands"], &["--format", "json"]);
    assert_eq!(run.code, Some(0));
    // Once for the weights as they are, and once for processed ones.
    assert_eq!(run.events("check_finished").len(), 2 * 2_000);
}

#[test]
fn requests_that_nobody_can_answer() {
    let (_test, told) = checks(&["unanswerable", "loss_equivalence"], &[]);
    insta::assert_snapshot!(told);
}

#[test]
fn requests_without_end() {
    let (_test, told) = checks(&["endless"], &[]);
    insta::assert_snapshot!(told);
}

#[test]
fn verdicts_that_contradict_themselves() {
    let (_test, told) = checks(&["contradicts"], &[]);
    insta::assert_snapshot!(told);
}

#[test]
fn by_tolerance_a_pass_may_measure_what_the_error_ratio_fails() {
    let (_test, told) = checks(&["contradicts"], &["--judging", "tolerance"]);
    insta::assert_snapshot!(told);
}

#[test]
fn texts_that_would_turn_the_report_into_another() {
    let (_test, human) = judged(&["paints"], &[]);
    assert!(!human.stdout.contains('\u{1b}'), "{human}");
    let cut = |line: &str| line.chars().take(160).collect::<String>();
    let lines: Vec<String> = human.stdout.lines().map(cut).collect();
    insta::assert_snapshot!(lines.join("\n"));
    let (_test, machine) = judged(&["paints"], &["--format", "json"]);
    let message = machine.exits(100).events("check_finished")[0]["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .starts_with("\u{1b}[2J\u{1b}[H\r🟢")
    );
}
