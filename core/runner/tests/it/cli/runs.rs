//! Runs that end well.

use super::judge;
use crate::support::cli_test::CliTest;
use crate::support::fixture;

#[test]
fn the_shipped_checkpoint_against_its_recording() {
    let test = CliTest::new();
    insta::assert_snapshot!(judge(&test, &[]).exits(0));
}

#[test]
fn details_of_what_passed() {
    let test = CliTest::new();
    let run = judge(&test, &["--benchmark", "logits_equivalence", "--verbose"]).exits(0);
    let mut settings = insta::Settings::clone_current();
    // How small the differences are depends on the processor.
    settings.add_filter(r"#e-\d+", "#");
    settings.bind(|| insta::assert_snapshot!(run));
}

#[test]
fn in_f64() {
    let test = CliTest::new();
    let run = judge(&test, &["--dtype", "f64", "--format", "json"]).exits(0);
    assert_eq!(run.events("model_opened")[0]["dtype"], "f64");
    assert!(
        run.checks().iter().all(|check| check.contains(" INFO ")),
        "{run}"
    );
}

#[test]
fn by_fixed_tolerances() {
    let test = CliTest::new();
    let run = judge(&test, &["--judging", "tolerance", "--format", "json"]).exits(0);
    assert_eq!(run.events("run_started")[0]["judging"], "tolerance");
}

#[test]
fn by_a_tolerance_that_nothing_can_meet() {
    let test = CliTest::new();
    let config = test.write(
        "tlbench.toml",
        "[[benchmarks]]\nname = 'logits_equivalence'\noptions = { atol = 0.0, rtol = 0.0 }\n",
    );
    let config = config.display().to_string();
    let arguments = ["--config", &config, "--judging"];
    judge(&test, &[&arguments[..], &["calibrated"]].concat()).exits(0);
    judge(&test, &[&arguments[..], &["tolerance"]].concat()).exits(100);
}

#[test]
fn only_the_benchmarks_that_are_asked_for() {
    let test = CliTest::new();
    let benchmarks = |globs: &[&str]| {
        let arguments: Vec<&str> = globs
            .iter()
            .flat_map(|glob| ["--benchmark", glob])
            .chain(["--format", "json", "--no-compat"])
            .collect();
        let run = judge(&test, &arguments).exits(0);
        let mut names: Vec<String> = run
            .events("check_finished")
            .iter()
            .map(|event| event["check"]["benchmark"].as_str().unwrap().to_owned())
            .collect();
        names.dedup();
        names
    };
    let all = ["forward_pass", "logits_equivalence", "loss_equivalence"];
    assert_eq!(benchmarks(&[]), all);
    // Also the name of a module, but of a benchmark first.
    assert_eq!(benchmarks(&["forward_pass"]), all[..1]);
    assert_eq!(benchmarks(&["forward_pass/*"]), all);
    assert_eq!(benchmarks(&["forward_pas?"]), all);
    assert_eq!(benchmarks(&["l*_equivalence"]), all[1..]);
    // In the order in which they are asked for.
    let turned = ["loss_equivalence", "logits_equivalence"];
    assert_eq!(benchmarks(&["loss*", "forward_pass/logits*"]), turned);
    assert_eq!(benchmarks(&["loss_equivalence"]), all[2..]);
}

#[test]
fn what_the_config_of_the_working_folder_says() {
    let test = CliTest::new();
    test.write(
        "tlbench.toml",
        format!(
            "[run]\ndtype = 'f64'\n[[models]]\nname = 'mine'\npath = '{}'\n\
             [[benchmarks]]\nname = 'loss_equivalence'\n",
            fixture("").display()
        ),
    );
    insta::assert_snapshot!(test.run(["--quiet"]).exits(0));
}

#[test]
fn models_stand_in_the_order_of_the_config_however_long_each_takes() {
    let test = CliTest::new();
    let models = [
        ("first", ""),
        ("nowhere", "no/such/folder"),
        ("second", ""),
        ("third", ""),
    ];
    let entry = |(name, folder): (&str, &str)| {
        format!(
            "[[models]]\nname = '{name}'\npath = '{}'\n",
            fixture(folder).display()
        )
    };
    let config = test.write("tlbench.toml", models.map(entry).concat());
    let config = config.display().to_string();
    let run = test.run(["--config", &config, "--format", "json"]);
    let run = run.exits(101);
    let report = run.json();
    let mut names: Vec<&str> = Vec::new();
    for event in report["events"].as_array().unwrap() {
        let model = event["model"].as_str();
        names.extend(model.or_else(|| event["check"]["model"].as_str()));
    }
    names.dedup();
    assert_eq!(names, models.map(|(name, _)| name));
    // Each is judged as it is alone.
    let results = |model: &str| {
        let checks = run.events("check_finished").into_iter();
        let of_model = checks.filter(|check| check["check"]["model"] == model);
        of_model
            .map(|check| check["measurements"].clone())
            .collect::<Vec<_>>()
    };
    assert!(!results("first").is_empty());
    assert_eq!(results("second"), results("first"));
    assert_eq!(results("third"), results("first"));
}
