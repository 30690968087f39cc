//! Names and descriptions that a plugin should not have.

use crate::support::built::{plugin, test_plugin};
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::CliTest;

/// The plugin `strange_ids`, with one of its texts changed.
fn strange(variable: &str, text: &str) -> CliTest {
    CliTest::without_plugins()
        .plugin(plugin("tlbench_gpt2"))
        .plugin(test_plugin("strange_ids"))
        .variable(variable, text)
}

/// The one line that is told of it; the other plugin is there all the same.
fn refused(variable: &str, text: &str) -> String {
    let run = strange(variable, text)
        .run(["list", "--format", "json"])
        .exits(98);
    assert_eq!(run.json()["plugins"].as_array().unwrap().len(), 1, "{run}");
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    let (_, told) = run.stderr.split_once("libstrange_ids.so: ").unwrap();
    told.to_owned()
}

#[test]
fn every_kind_of_id_is_held_to_the_rule() {
    let lines = [
        refused("STRANGE_ARCHITECTURE", "GPT 2"),
        refused("STRANGE_MODEL_TYPE", "gpt*"),
        refused("STRANGE_REFERENCE", "hf/recorded"),
        refused("STRANGE_BENCHMARK", ""),
        refused("STRANGE_MODULE", "-forward"),
    ];
    insta::assert_snapshot!(lines.concat());
}

#[test]
fn an_id_is_shown_escaped_and_cut() {
    let lines = [
        refused("STRANGE_BENCHMARK", "\u{1b}[2K\r🟢 [PASS] all\nerror: none"),
        refused("STRANGE_BENCHMARK", "\u{202e}gnp"),
        refused("STRANGE_BENCHMARK", &"x".repeat(10_000)),
    ];
    insta::assert_snapshot!(lines.concat());
}

#[test]
fn a_reference_cannot_be_called_as_a_tier_is() {
    let lines = ["hf", "ht", "bridge"].map(|id| refused("STRANGE_REFERENCE", id));
    insta::assert_snapshot!(lines.concat());
}

#[test]
fn a_model_type_that_is_served_already() {
    let told = refused("STRANGE_MODEL_TYPE", "gpt2");
    assert!(
        told.starts_with("offers the model_type `gpt2`, which "),
        "{told}"
    );
    assert!(told.contains("libtlbench_gpt2.so offers already"), "{told}");
}

#[test]
fn a_description_is_any_text_and_stays_in_its_cell() {
    let text = format!("\u{1b}[31mred\u{1b}[0m\nBenchmarks\n{}", "y".repeat(5000));
    let test = strange("STRANGE_DESCRIPTION", &text);
    let human = test.run(["list"]).exits(0);
    assert!(!human.stdout.contains('\u{1b}'), "{human}");
    assert_eq!(human.stdout.matches("\nBenchmarks\n").count(), 1, "{human}");
    assert!(
        human
            .stdout
            .contains(r"\u{1b}[31mred\u{1b}[0m\nBenchmarks\nyy")
    );
    assert!(
        human
            .stdout
            .contains("more characters in the report for programs")
    );
    let machine = test.run(["list", "--format", "json"]).exits(0).json();
    assert_eq!(machine["benchmarks"][0]["info"]["description"], text);
}

#[test]
fn config_keys_and_tensors_of_a_checkpoint_cannot_paint_either() {
    let test = CliTest::new();
    let painted = Checkpoint::at(test.path("painted"))
        .with_config(|config| {
            config.insert("\u{1b}[8mhidden\n🟢".into(), 1.into());
        })
        .with_tensors(|tensors| {
            let one = tensors.values().next().unwrap().clone();
            tensors.insert("\u{1b}[2Jwhite".into(), one);
        });
    let folder = painted.folder().display().to_string();
    let arguments = [
        "--no-hf-reference",
        "--benchmark",
        "loss_equivalence",
        "--quiet",
    ];
    let run = test
        .run(["--model", &folder].iter().chain(&arguments))
        .exits(0);
    insta::assert_snapshot!(
        run.stdout
            .lines()
            .filter(|line| line.starts_with('!'))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let inspected = test.run(["inspect", &folder]).exits(0);
    assert!(!inspected.stdout.contains('\u{1b}'), "{inspected}");
}
