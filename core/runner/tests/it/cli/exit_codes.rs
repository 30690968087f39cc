//! Every exit code, and which one wins where several apply.

use super::judge;
use crate::support::built::{plugin, test_plugin};
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::CliTest;
use crate::support::fixture;

/// A config with a model that fails verification.
fn failing(test: &CliTest) -> String {
    let text = format!(
        "[[models]]\npath = '{}'\narchitecture = 'gpt2-eps'\n",
        fixture("").display()
    );
    test.write("failing.toml", text).display().to_string()
}

#[test]
fn passed_is_0() {
    judge(&CliTest::new(), &[]).exits(0);
}

#[test]
fn wrong_usage_is_2() {
    let test = CliTest::without_plugins();
    insta::assert_snapshot!(test.run(["--modell", "x"]), @"
    exit code 2
    ----- stderr -----
    error: unexpected argument '--modell' found

      tip: a similar argument exists: '--model'

    Usage: tlbench --model <MODEL>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(test.run(["--dtype", "bf16"]), @"
    exit code 2
    ----- stderr -----
    error: no model: name one with --model MODEL, or a config with --config FILE (there is no tlbench.toml here)
    ");
    insta::assert_snapshot!(test.run::<&str>([]), @"
    exit code 2
    ----- stderr -----
    error: no model: name one with --model MODEL, or a config with --config FILE (there is no tlbench.toml here)
    ");
}

#[test]
fn nothing_selected_is_4() {
    let test = CliTest::new();
    insta::assert_snapshot!(judge(&test, &["--benchmark", "los_equivalence"]), @"
    exit code 4
    ----- stderr -----
    error: benchmark `los_equivalence`: expected the name, the module or a glob of one of forward_pass, logits_equivalence, loss_equivalence, found none that matches
    ");
    insta::assert_snapshot!(judge(&test, &["--benchmark", "[loss"]), @"
    exit code 4
    ----- stderr -----
    error: benchmark `[loss`: unclosed character class; missing ']'
    ");
}

#[test]
fn no_benchmark_at_all_is_4() {
    let test = CliTest::without_plugins()
        .plugin(plugin("tlbench_gpt2"))
        .plugin(plugin("tlbench_hf_recorded"));
    insta::assert_snapshot!(judge(&test, &[]));
    insta::assert_snapshot!(judge(&test, &["--benchmark", "loss_equivalence"]), @"
    exit code 4
    ----- stderr -----
    error: benchmark `loss_equivalence`: expected the name, the module or a glob of one of none (no plugin offers any), found none that matches
    ");
}

#[test]
fn nothing_but_skipped_checks_is_4() {
    let test = CliTest::without_plugins()
        .plugin(plugin("tlbench_gpt2"))
        .plugin(plugin("tlbench_hf_recorded"))
        .plugin(test_plugin("duplicate"));
    insta::assert_snapshot!(judge(&test, &[]));
}

#[test]
fn a_wrong_config_is_96() {
    let test = CliTest::new();
    let config = test.write(
        "tlbench.toml",
        "[run]\ndtyp = 'f32'\n[[models]]\npath = 3\n",
    );
    insta::assert_snapshot!(test.run(["--config".as_ref(), config.as_os_str()]), @"
    exit code 96
    ----- stderr -----
    error: [FOLDER]/tlbench.toml:2:1: unknown key `dtyp` in [run]; did you mean `dtype`?
    [FOLDER]/tlbench.toml:4:8: key `path` in [[models]]: expected the folder of a checkpoint, found 3
    ");
    insta::assert_snapshot!(test.run(["--config", "none.toml"]), @"
    exit code 96
    ----- stderr -----
    error: none.toml: cannot be read: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(test.run([
        "--model",
        "a",
        "--model",
        "b",
        "--recording",
        "r.safetensors"
    ]), @"
    exit code 96
    ----- stderr -----
    error: the recording r.safetensors is of one model, but there are 2: a, b; choose one of them with --model
    ");
}

#[test]
fn a_plugin_that_cannot_be_used_is_98() {
    judge(&CliTest::new().plugin("none.so"), &[]).exits(98);
}

#[test]
fn failed_verification_is_100() {
    let test = CliTest::new().plugin(test_plugin("faulty_gpt2"));
    let config = failing(&test);
    test.run(["--config", &config]).exits(100);
}

#[test]
fn what_could_not_run_is_101() {
    let test = CliTest::new();
    insta::assert_snapshot!(test.run(["--model", "none", "--quiet"]));
}

#[test]
fn failed_verification_wins_over_a_plugin_that_cannot_be_used() {
    let test = CliTest::new()
        .plugin(test_plugin("faulty_gpt2"))
        .plugin("none.so");
    let config = failing(&test);
    test.run(["--config", &config]).exits(100);
}

#[test]
fn a_plugin_that_cannot_be_used_wins_over_what_could_not_run() {
    let test = CliTest::new().plugin("none.so");
    test.run(["--model", "none"]).exits(98);
}

#[test]
fn a_plugin_that_cannot_be_used_wins_over_nothing_selected() {
    let test = CliTest::without_plugins()
        .plugin(plugin("tlbench_gpt2"))
        .plugin("none.so");
    judge(&test, &["--no-hf-reference"]).exits(98);
}

#[test]
fn failed_verification_wins_over_what_could_not_run() {
    let test = CliTest::new().plugin(test_plugin("faulty_gpt2"));
    let text = format!(
        "[[models]]\nname = 'wrong'\npath = '{path}'\narchitecture = 'gpt2-eps'\n\
         [[models]]\nname = 'none'\npath = 'none'\n",
        path = fixture("").display()
    );
    let config = test.write("both.toml", text);
    test.run(["--config".as_ref(), config.as_os_str()])
        .exits(100);
}

#[test]
fn what_could_not_run_wins_over_nothing_selected() {
    let test = CliTest::without_plugins().plugin(plugin("tlbench_gpt2"));
    test.run(["--model", "none"]).exits(101);
}

#[test]
fn one_model_that_could_not_run_keeps_no_other_from_running() {
    let test = CliTest::new();
    let good = Checkpoint::at(test.path("good"));
    let run = test
        .run([
            "--model".as_ref(),
            "none".as_ref(),
            "--model".as_ref(),
            good.folder().as_os_str(),
            "--no-hf-reference".as_ref(),
            "--format".as_ref(),
            "json".as_ref(),
        ])
        .exits(101);
    assert!(
        run.checks().iter().all(|check| check.contains(" INFO ")),
        "{run}"
    );
    assert_eq!(run.events("model_failed")[0]["model"], "none");
}
