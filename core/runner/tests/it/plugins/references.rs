//! References that break the rules: an ERROR each, never a pass, and other models go on.

use serde_json::Value;

use crate::support::built::test_plugin;
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;

/// A run of `logits_equivalence` on one model per reference, and on one with its own recording last.
fn judged(references: &[&str], arguments: &[&str]) -> (CliTest, Run) {
    let test = CliTest::new().plugin(test_plugin("hostile"));
    let path = fixture("").display().to_string();
    let mut config: String = references
        .iter()
        .map(|id| format!("[[models]]\nname = '{id}'\npath = '{path}'\nreferences = ['{id}']\n"))
        .collect();
    config.push_str(&format!("[[models]]\nname = 'good'\npath = '{path}'\n"));
    config.push_str("[[benchmarks]]\nname = 'logits_equivalence'\n");
    test.write("tlbench.toml", config);
    let run = test.run(arguments.iter().chain(&["--quiet", "--no-compat"]));
    (test, run)
}

/// What became of the checks of each model but the last, as `reference/variant SEVERITY message`.
fn told(references: &[&str], code: i32) -> String {
    let (_test, run) = judged(references, &["--format", "json"]);
    let run = run.exits(code);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = run.events("check_finished");
    let (good, bad): (Vec<_>, Vec<_>) = events
        .iter()
        .partition(|event| event["check"]["model"] == "good");
    assert_eq!(good.len(), 6, "{run}");
    assert!(good.iter().all(|event| event["passed"] == true), "{run}");
    let line = |event: &&Value| {
        format!(
            "{}/{} {} {}",
            text(&event["check"]["reference"]),
            text(&event["check"]["variant"]),
            text(&event["severity"]).to_uppercase(),
            text(&event["message"])
        )
    };
    bad.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn inputs_on_which_nothing_can_be_compared() {
    let lies = [
        "no_tokens",
        "floats_for_tokens",
        "same_input_twice",
        "shows_nothing",
    ];
    insta::assert_snapshot!(told(&lies, 101));
}

#[test]
fn answers_that_answer_nothing() {
    let lies = [
        "leaves_out",
        "other_shape",
        "nan_floor",
        "negative_floor",
        "infinite_floor",
        "no_floor",
    ];
    insta::assert_snapshot!(told(&lies, 101));
}

#[test]
fn a_truth_that_is_nan_or_of_another_width_is_a_difference() {
    insta::assert_snapshot!(told(&["nan_truth", "other_width"], 100));
}

#[test]
fn what_nobody_asked_for_is_left_out() {
    insta::assert_snapshot!(told(&["more_than_asked"], 0));
}

#[test]
fn a_provenance_cannot_paint() {
    let (_test, run) = judged(&["painted_provenance"], &[]);
    let run = run.exits(0);
    assert!(!run.stdout.contains('\u{1b}'), "{run}");
    let line = run
        .stdout
        .lines()
        .find(|line| line.contains("painted_provenance, tier"));
    insta::assert_snapshot!(line.unwrap());
}
