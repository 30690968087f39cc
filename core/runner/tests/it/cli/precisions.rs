//! Narrow precisions: a question of their own, judged by the reference's rounding in them.

use serde_json::Value;

use super::judge;
use crate::support::cli_test::{CliTest, Run};

/// The largest error ratio of a run, which every check passed.
fn worst_ratio(run: &Run) -> f64 {
    let measurements = run.measurements();
    let ratios = measurements
        .iter()
        .flat_map(|of_check| of_check.as_array().into_iter().flatten())
        .map(|measurement| measurement["ratio"].as_f64().unwrap());
    ratios.fold(0.0, f64::max)
}

#[test]
fn each_is_judged_by_floors_of_its_own() {
    let test = CliTest::new();
    for dtype in ["bf16", "f16"] {
        let run = judge(&test, &["--dtype", dtype, "--format", "json"]).exits(0);
        let reference = &run.events("reference_opened")[0];
        assert_eq!(reference["reference"], "hf-recorded");
        assert_eq!(reference["provenance"]["dtype"], dtype);
        let worst = worst_ratio(&run);
        assert!((0.3..2.0).contains(&worst), "{dtype}: {worst}");
    }
}

#[test]
fn it_says_what_it_cannot_see() {
    let test = CliTest::new();
    let run = judge(&test, &["--dtype", "bf16", "--format", "json"]).exits(0);
    let note = |note: &Value| note["message"].as_str().unwrap().to_owned();
    let notes: Vec<String> = run.events("note").iter().map(note).collect();
    insta::assert_snapshot!(notes[0], @"bf16 is a question of precision: judged by the reference's own rounding in bf16, which hides faults that f32 shows");
    let shares = run.checks();
    assert!(
        shares
            .iter()
            .all(|line| line.contains("% of l") && line.ends_with("goes unnoticed")),
        "{shares:?}"
    );
    let in_f32 = judge(&test, &["--format", "json"]).exits(0).checks();
    assert!(
        in_f32.iter().all(|line| !line.contains("unnoticed")),
        "{in_f32:?}"
    );
}

#[test]
fn without_a_reference_its_own_rounding_is_measured() {
    let test = CliTest::new();
    let arguments = ["--dtype", "f16", "--no-hf-reference", "--format", "json"];
    let run = judge(&test, &arguments).exits(0);
    let provenance = &run.events("reference_opened")[0]["provenance"];
    assert_eq!(provenance["precision"], "f64 against f16 in other orders");
}

#[test]
fn precisions_that_have_no_rounding_to_measure() {
    let test = CliTest::without_plugins();
    let run = test.run(["record", "model", "--precisions", "f32,f64"]);
    insta::assert_snapshot!(run.exits(2).stderr, @r#"
    error: invalid value 'f64' for '--precisions <DTYPES>': expected `f32`, `bf16` or `f16` (an f64 model is judged by the rounding of f32), found "f64"

    For more information, try '--help'.
    "#);
}
