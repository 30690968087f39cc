//! What a twin is, as a user sees it.

use std::fs;

use super::{large, test};
use crate::support::cli_test::CliTest;
use crate::support::fixture;

#[test]
fn help() {
    insta::assert_snapshot!(CliTest::without_plugins().run(["twin", "--help"]));
}

#[test]
fn of_models_of_the_hub() {
    let test = test();
    let reports = large().into_iter().map(|model| {
        let run = test.run([
            "twin",
            &model.name,
            "--out",
            &format!("twins/{}", model.name),
        ]);
        run.exits(0).stdout
    });
    insta::assert_snapshot!(reports.collect::<Vec<_>>().join("\n"));
}

#[test]
fn for_programs() {
    let test = test();
    let arguments = ["twin", "mixtral-8x7b", "--out", "twin", "--format", "json"];
    insta::assert_snapshot!(test.run(arguments).exits(0).stdout);
}

#[test]
fn its_config_is_that_of_the_model_with_other_sizes() {
    let test = test();
    test.run(["twin", "llama-3.1-8b", "--out", "a/twin"])
        .exits(0);
    insta::assert_snapshot!(fs::read_to_string(test.path("a/twin/config.json")).unwrap());
}

#[test]
fn with_heads_of_their_own_width() {
    let test = test();
    let arguments = ["twin", "llama-3.1-8b", "--out", "twin", "--own-head-dim"];
    insta::assert_snapshot!(test.run(arguments).exits(0).stdout);
}

#[test]
fn every_tensor_is_stored_once_and_taken() {
    let test = test();
    for model in large() {
        test.run(["twin", &model.name, "--out", "twin"]).exits(0);
        let inspected = test.run(["inspect", "twin", "--format", "json"]).exits(0);
        let tensors = &inspected.json()["tensors"];
        assert_eq!(
            tensors["not_taken"],
            serde_json::json!([]),
            "{}",
            model.name
        );
        fs::remove_dir_all(test.path("twin")).unwrap();
    }
}

#[test]
fn a_seed_gives_the_same_weights_and_another_one_others() {
    let test = test();
    let weights = |folder: &str, seed: &[&str]| {
        let arguments = ["twin", "gpt2-xl", "--out", folder];
        test.run(arguments.iter().chain(seed)).exits(0);
        fs::read(test.path(folder).join("model.safetensors")).unwrap()
    };
    let first = weights("first", &[]);
    assert!(first == weights("again", &["--seed", "0"]));
    assert!(first != weights("other", &["--seed", "1"]));
}

/// Without a reference the suite compares the bridge with itself, which has to run all there is.
#[test]
fn the_suite_runs_on_it() {
    let test = test();
    let test = ["tlbench_forward_pass", "tlbench_hooked_transformer"]
        .iter()
        .fold(test, |test, name| {
            test.plugin(crate::support::built::plugin(name))
        });
    for model in large() {
        let folder = format!("twins/{}", model.name);
        test.run(["twin", &model.name, "--out", &folder]).exits(0);
        let run = test.run(["--model", &folder, "--no-hf-reference", "--format", "json"]);
        let run = run.exits(0);
        assert!(run.checks().len() > 10, "{run}");
        assert!(run.checks().iter().all(|check| !check.contains("WARNING")));
    }
}

#[test]
fn without_anybody_to_ask_it_has_no_recording_and_says_so() {
    let test = CliTest::new();
    let model = fixture("").display().to_string();
    let run = test.run(["twin", &model, "--out", "none", "--no-recording"]);
    insta::assert_snapshot!(run.exits(0));
    // Somebody named the one to ask.
    let python = ["--python", "/nonexistent/python", "--quiet"];
    let run = test.run(["twin", &model, "--out", "named"].iter().chain(&python));
    assert!(run.exits(101).stderr.contains("no live HuggingFace"));
    assert!(test.path("named/model.safetensors").exists());
}
