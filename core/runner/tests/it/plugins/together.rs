//! Several plugins at once.

use crate::support::built::test_plugin;
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::CliTest;
use crate::support::fixture;

#[test]
fn two_plugins_serve_one_run() {
    let test = CliTest::new().plugin(test_plugin("second"));
    let run = test.run([
        "--model",
        &fixture("").display().to_string(),
        "--benchmark",
        "finite_logits",
        "--benchmark",
        "loss_equivalence",
        "--quiet",
    ]);
    insta::assert_snapshot!(run);
}

#[test]
fn each_model_is_read_by_the_plugin_that_serves_its_type() {
    let test = CliTest::new().plugin(test_plugin("second"));
    let other = Checkpoint::at(test.path("other")).with_config(|config| {
        config.insert("model_type".into(), "second".into());
    });
    let shipped = fixture("");
    let run = test
        .run([
            "--model".as_ref(),
            shipped.as_os_str(),
            "--model".as_ref(),
            other.folder().as_os_str(),
            "--no-hf-reference".as_ref(),
            "--format".as_ref(),
            "json".as_ref(),
        ])
        .exits(0);
    let architectures: Vec<_> = run
        .events("model_opened")
        .iter()
        .map(|event| (event["model"].clone(), event["architecture"].clone()))
        .collect();
    assert_eq!(
        architectures,
        [
            ("tiny".into(), "gpt2".into()),
            ("other".into(), "second".into())
        ]
    );
}
