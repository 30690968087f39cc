//! What tlbench says of itself, of its plugins and of a checkpoint.

use serde_json::Value;

use crate::support::built::test_plugin;
use crate::support::cli_test::CliTest;
use crate::support::fixture;

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn help() {
    insta::assert_snapshot!(CliTest::without_plugins().run(["--help"]));
}

#[test]
fn help_of_a_command() {
    let test = CliTest::without_plugins();
    insta::assert_snapshot!(test.run(["record", "--help"]));
}

#[test]
fn version() {
    insta::assert_snapshot!(CliTest::without_plugins().run(["--version"]), @r"
    exit code 0
    ----- stdout -----
    tlbench [VERSION]
    ");
}

#[test]
fn list() {
    let test = CliTest::new();
    let mut settings = insta::Settings::clone_current();
    // Columns are as wide as the longest path or version.
    settings.add_filter(" {3,}", "   ");
    settings.bind(|| insta::assert_snapshot!(test.run(["list"])));
}

#[test]
fn list_without_any_plugin() {
    insta::assert_snapshot!(CliTest::without_plugins().run(["list"]));
}

#[test]
fn list_for_programs() {
    let test = CliTest::without_plugins().plugin(test_plugin("second"));
    let list = test.run(["list", "--format", "json"]).exits(0).json();
    assert_eq!(
        keys(&list),
        [
            "architectures",
            "benchmarks",
            "faults",
            "plugins",
            "references"
        ]
    );
    let plugin = &list["plugins"][0];
    assert_eq!(
        keys(plugin),
        ["file", "name", "rustc", "sdk_version", "target", "version"]
    );
    assert_eq!(plugin["file"], test_plugin("second").display().to_string());
    insta::assert_json_snapshot!(list["architectures"][0]["info"], @r#"
    {
      "description": "GPT-2 under another name",
      "id": "second",
      "model_types": [
        "second"
      ]
    }
    "#);
    insta::assert_json_snapshot!(list["benchmarks"][0]["info"], @r#"
    {
      "description": "no logit is NaN or infinite",
      "explanation": "",
      "id": "finite_logits",
      "module": "sanity",
      "only_in": null,
      "options": []
    }
    "#);
}

#[test]
fn inspect() {
    let test = CliTest::new();
    insta::assert_snapshot!(test.run(["inspect".as_ref(), fixture("").as_os_str()]));
}

#[test]
fn inspect_for_programs() {
    let test = CliTest::new();
    let model = fixture("").display().to_string();
    let run = test.run(["inspect", &model, "--format", "json"]).exits(0);
    let document = run.json();
    assert_eq!(
        keys(&document),
        ["architecture", "config_keys", "hooks", "spec", "tensors"]
    );
    assert_eq!(document["spec"]["layers"].as_array().unwrap().len(), 3);
    assert_eq!(document["hooks"][0]["name"], "hook_embed");
    assert_eq!(document["config_keys"]["not_read"], serde_json::json!([]));
    assert_eq!(document["tensors"]["not_taken"], serde_json::json!([]));
}
