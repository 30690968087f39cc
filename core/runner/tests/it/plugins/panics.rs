//! A plugin that panics: what was asked of it fails with its message, and everything else goes on.

use crate::support::built::test_plugin;
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::CliTest;
use crate::support::fixture;

/// Models are judged one after the other, so that it is the first that sees a panic.
fn test() -> CliTest {
    let test = CliTest::new().variable("RAYON_NUM_THREADS", "1");
    test.plugin(test_plugin("panics"))
}

fn shipped() -> String {
    fixture("").display().to_string()
}

#[test]
fn a_check_that_panics_is_an_error_and_its_benchmark_is_not_asked_again() {
    let test = test();
    let run = test.run([
        "--model",
        &shipped(),
        "--benchmark",
        "panics",
        "--benchmark",
        "loss_equivalence",
        "--quiet",
    ]);
    insta::assert_snapshot!(run);
}

#[test]
fn the_backtrace_is_there_for_whoever_asks() {
    let test = test();
    let model = shipped();
    let arguments = ["--model", &model, "--benchmark", "panics_in_judge"];
    let human = test.run(arguments.iter().chain(&["--verbose"])).exits(101);
    assert!(human.stdout.contains("backtrace"), "{human}");
    let machine = test.run(arguments.iter().chain(&["--format", "json"]));
    let first = &machine.exits(101).events("check_finished")[0];
    assert_eq!(first["details"][0]["name"], "backtrace");
    let backtrace = first["details"][0]["value"].as_str().unwrap();
    assert!(
        backtrace.contains("panics::benchmarks::Judging"),
        "{backtrace}"
    );
}

#[test]
fn an_adapter_that_panics_fails_its_model_alone() {
    let test = test();
    let other = Checkpoint::at(test.path("other")).with_config(|config| {
        config.insert("model_type".into(), "panics".into());
    });
    let run = test.run([
        "--model".as_ref(),
        other.folder().as_os_str(),
        "--model".as_ref(),
        fixture("").as_os_str(),
        "--benchmark".as_ref(),
        "loss_equivalence".as_ref(),
        "--quiet".as_ref(),
    ]);
    insta::assert_snapshot!(run);
    insta::assert_snapshot!(test.run(["inspect".as_ref(), other.folder().as_os_str()]), @"
    exit code 101
    ----- stderr -----
    error: [FOLDER]/other/config.json: the plugin panicked: 5 heads are too many at panics/src/lib.rs:[LINE]
    ");
}

/// Two models that ask the reference `id` first, and HuggingFace then.
fn asked_twice(test: &CliTest, id: &str, options: &str) -> String {
    let model = |name: &str| {
        format!(
            "[[models]]\nname = '{name}'\npath = '{}'\nreferences = ['{id}', 'hf']\n",
            shipped()
        )
    };
    let text = format!("{}{}{options}", model("first"), model("second"));
    test.write("tlbench.toml", text).display().to_string()
}

#[test]
fn a_reference_that_panics_when_opened_is_not_opened_again() {
    let test = test();
    let config = asked_twice(&test, "panics-in-open", "");
    let run = test.run([
        "--config",
        &config,
        "--benchmark",
        "loss_equivalence",
        "--quiet",
    ]);
    insta::assert_snapshot!(run);
}

#[test]
fn a_reference_that_panics_when_asked_leaves_errors() {
    let test = test();
    let config = asked_twice(&test, "panics-in-trace", "");
    let run = test
        .run([
            "--config",
            &config,
            "--benchmark",
            "logits_equivalence",
            "--format",
            "json",
        ])
        .exits(101);
    insta::assert_snapshot!(run.checks().join("\n"));
}

#[test]
fn a_reference_that_panics_when_dropped_is_dropped() {
    let test = test();
    let witness = test.path("witness");
    let options = format!(
        "[reference.panics-in-drop]\nwitness = '{}'\n",
        witness.display()
    );
    let config = asked_twice(&test, "panics-in-drop", &options);
    test.run(["--config", &config, "--quiet"]);
    assert_eq!(std::fs::read_to_string(witness).unwrap(), "dropped");
}
