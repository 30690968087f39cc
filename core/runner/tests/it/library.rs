//! tlbench as a library: the examples run, and say what a user sees.

use std::process::Command;

use tlbench::config::Overrides;
use tlbench::{Config, Outcome, Suite, Tier};

use crate::support::built::{binary, example};
use crate::support::checkpoint::Checkpoint;
use crate::support::normalise::settings;
use crate::support::{fixture, repository};

/// What an example writes, and whether it ends well.
fn output(name: &str, arguments: &[&str]) -> (bool, String, String) {
    // Its plugins are those beside the command.
    binary();
    let output = Command::new(example(name))
        .args(arguments)
        .current_dir(repository())
        .env_remove("TLBENCH_PLUGIN_PATH")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_whole_suite() {
    let (ended_well, written, errors) = output("whole_suite", &[]);
    assert!(ended_well, "{written}{errors}");
    assert!(written.contains("🟢 [PASS] forward_pass: "), "{written}");
    let last = written.lines().last().unwrap();
    assert!(last.starts_with("Passed: "), "{last}");
}

#[test]
fn the_whole_suite_on_a_folder_that_is_not_there() {
    let (ended_well, written, errors) = output("whole_suite", &["no/such/folder"]);
    assert!(!ended_well);
    let _settings = settings(&repository()).bind_to_scope();
    insta::assert_snapshot!(format!("{written}{errors}"));
}

#[test]
fn single_benchmarks() {
    let (ended_well, written, errors) = output("single_benchmarks", &[]);
    assert!(ended_well, "{written}{errors}");
    let names: Vec<&str> = written
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    insta::assert_snapshot!(names.join("\n"));
}

#[test]
fn closures_at_hooks_and_a_cache() {
    let (ended_well, written, errors) = output("hooks", &[]);
    assert!(ended_well, "{written}{errors}");
    insta::assert_snapshot!(written);
}

#[test]
fn texts_that_go_on() {
    let (ended_well, written, errors) = output("generation", &[]);
    assert!(ended_well, "{written}{errors}");
    insta::assert_snapshot!(written);
}

#[test]
fn a_program_without_plugins_is_told_how_to_get_them() {
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = folder.path().join("program");
    std::fs::copy(example("whole_suite"), &program).unwrap();
    let output = Command::new(program)
        .env_remove("TLBENCH_PLUGIN_PATH")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let folder = folder.path().display().to_string();
    insta::assert_snapshot!(errors.replace(&folder, "[FOLDER]"));
}

fn suite(folder: &std::path::Path) -> Suite {
    binary();
    Suite::of_model(folder).unwrap()
}

#[test]
fn why_nothing_was_verified_is_in_the_message_of_the_assertion() {
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let other = Checkpoint::at(folder.path().join("other"))
        .with_recording()
        .with_config(|config| {
            config.insert("activation_function".into(), "gelu".into());
        });
    let file = folder.path().join("tlbench.toml");
    let text = format!(
        "[run]\nreferences = [\"hf-recorded\"]\n[[models]]\npath = '{}'\n",
        other.folder().display()
    );
    binary();
    let suite = Suite::of_config(Config::parse(&text, &file).unwrap()).unwrap();
    let results = suite.benchmark("loss_equivalence").unwrap();
    assert_eq!(results.outcome(), Outcome::CouldNotRun);
    let _settings = settings(folder.path()).bind_to_scope();
    insta::assert_snapshot!(results);
}

#[test]
fn without_a_reference_nothing_has_passed() {
    let excluded = [
        Tier::HuggingFace,
        Tier::HookedTransformer,
        Tier::BridgeAlone,
    ];
    let suite = suite(&fixture(""))
        .with(Overrides {
            excluded_tiers: excluded.into(),
            ..Overrides::default()
        })
        .unwrap();
    let results = suite.benchmark("forward_pass").unwrap();
    assert!(!results.passed(), "{results}");
}

#[test]
fn a_benchmark_that_nobody_offers_is_named() {
    let error = suite(&fixture(""))
        .benchmark("backward_pass")
        .err()
        .unwrap();
    let error = error.to_string();
    assert!(
        error.starts_with("benchmark `backward_pass`: expected"),
        "{error}"
    );
    assert!(error.contains("forward_pass, "), "{error}");
}
