//! Adapters that make specs as no model can have: the model fails with component and field, and others go on.

use crate::support::built::test_plugin;
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;

/// A run of the shipped checkpoint through each of `architectures`, and through its own adapter last.
fn judged(architectures: &[&str], arguments: &[&str]) -> (CliTest, Run) {
    let test = CliTest::new().plugin(test_plugin("hostile"));
    let path = fixture("").display().to_string();
    let mut config: String = architectures
        .iter()
        .map(|id| format!("[[models]]\nname = '{id}'\npath = '{path}'\narchitecture = '{id}'\n"))
        .collect();
    config.push_str(&format!("[[models]]\nname = 'good'\npath = '{path}'\n"));
    config.push_str("[[benchmarks]]\nname = 'loss_equivalence'\n");
    test.write("tlbench.toml", config);
    let run = test.run(arguments.iter().chain(&["--quiet"])).exits(101);
    (test, run)
}

#[test]
fn each_names_component_and_field() {
    let (_test, run) = judged(
        &[
            "nan_eps",
            "infinite_scale",
            "zero_heads",
            "huge_vocabulary",
            "endless_layers",
            "misfit_cut",
            "nameless_tensor",
            "stray_tap",
            "bad_pattern",
            "painted_tensor",
        ],
        &["--format", "json"],
    );
    let told: Vec<String> = run
        .events("model_failed")
        .iter()
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect();
    insta::assert_snapshot!(told.join("\n"));
    assert!(run.checks().len() > 1);
    assert!(
        run.checks().iter().all(|check| check.contains(" INFO ")),
        "{run}"
    );
}

#[test]
fn a_reason_of_any_length_is_one_line_for_a_person_and_whole_for_a_program() {
    let (_test, human) = judged(&["verbose"], &[]);
    let line = human
        .stdout
        .lines()
        .find(|line| line.contains("verbose:"))
        .unwrap();
    assert!(line.len() < 2500, "{} bytes", line.len());
    assert!(line.ends_with("more characters in the report for programs)"));
    assert!(line.contains(r"less\nand less"), "{line}");
    let (_test, machine) = judged(&["verbose"], &["--format", "json"]);
    let event = &machine.events("model_failed")[0];
    assert!(event["message"].as_str().unwrap().len() > 900_000);
}
