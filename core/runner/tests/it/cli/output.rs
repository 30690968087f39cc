//! Where what is written, and in which form.

use std::fs;

use super::judge;
use crate::support::cli_test::CliTest;
use crate::support::fixture;

const ONE: [&str; 2] = ["--benchmark", "loss_equivalence"];

#[test]
fn progress_goes_to_stderr_unless_it_is_to_be_quiet() {
    let test = CliTest::new();
    let model = fixture("").display().to_string();
    let arguments = ["--model", &model, "--benchmark", "loss_equivalence"];
    let loud = test.run(arguments).exits(0);
    insta::assert_snapshot!(loud.stderr, @"
    reading [REPOSITORY]/architectures/gpt2/fixtures/tiny
    reading [REPOSITORY]/architectures/gpt2/fixtures/tiny/recording.safetensors
    ");
    let quiet = test.run(arguments.iter().chain(&["--quiet"])).exits(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn results_go_to_the_file_that_is_named() {
    let test = CliTest::new();
    let file = test.path("report.txt");
    let run = judge(&test, &[&ONE[..], &["--output", "report.txt"]].concat()).exits(0);
    assert_eq!(run.stdout, "");
    let report = fs::read_to_string(file).unwrap();
    assert!(report.contains("BENCHMARK RESULTS"), "{report}");
    assert!(!report.contains('\u{1b}'), "{report}");
}

#[test]
fn a_file_that_cannot_be_written() {
    let test = CliTest::new();
    insta::assert_snapshot!(judge(
        &test,
        &[&ONE[..], &["--output", "none/report.txt"]].concat()
    ), @"
    exit code 101
    ----- stderr -----
    error: none/report.txt: cannot be written: No such file or directory (os error 2)
    ");
}

#[test]
fn a_report_for_programs() {
    let test = CliTest::new();
    let run = judge(&test, &[&ONE[..], &["--format", "json"]].concat()).exits(0);
    let mut settings = insta::Settings::clone_current();
    // What was measured depends on the processor.
    for (pattern, replacement) in [
        (
            r#"("(ratio|rms|max_abs|relative_l2|cosine|seconds)": )[-#\d.e]+"#,
            "$1#",
        ),
        (r#"("(by_position|worst)": \[)[^\]]*"#, "$1 ... "),
        (r"#e-\d+", "#"),
    ] {
        settings.add_filter(pattern, replacement);
    }
    settings.bind(|| insta::assert_snapshot!(run.stdout));
}

#[test]
fn every_planned_check_ends_in_exactly_one_result() {
    let test = CliTest::new();
    let run = judge(&test, &["--format", "json"]).exits(0);
    let planned = run.events("planned")[0]["checks"].clone();
    let finished: Vec<_> = run
        .events("check_finished")
        .iter()
        .map(|event| event["check"].clone())
        .collect();
    assert_eq!(planned, serde_json::Value::Array(finished));
}

#[test]
fn colours_where_they_are_forced() {
    let test = CliTest::new()
        .variable("NO_COLOR", "")
        .variable("CLICOLOR_FORCE", "1");
    let run = judge(&test, &ONE).exits(0);
    assert!(run.stdout.contains("\u{1b}[32m"), "{run}");
}
