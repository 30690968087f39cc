//! Models of the Hub, from a server that speaks its protocol.

use std::fs;

use crate::support::cli_test::CliTest;
use crate::support::fixture;
use crate::support::site::{COMMIT, Site};

const SECRET: &str = "hf_secret";

/// A Hub that has the shipped checkpoint as `owner/tiny`.
fn hub() -> Site {
    let content = |name: &str| fs::read(fixture(name)).unwrap();
    Site::new()
        .small("README.md", "# tiny")
        .small("config.json", content("config.json"))
        .small("tokenizer.json", content("tokenizer.json"))
        .small("tokenizer_config.json", content("tokenizer_config.json"))
        .large("model.safetensors", content("model.safetensors"))
}

/// A test with a cache of its own.
fn test(endpoint: String) -> CliTest {
    let test = CliTest::new();
    let home = test.path("hugging_face");
    test.variable("HF_HOME", home)
        .variable("HF_ENDPOINT", endpoint)
        .variable("HF_HUB_ETAG_TIMEOUT", "5")
}

fn recording() -> String {
    fixture("recording.safetensors").display().to_string()
}

/// What differs from run to run.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[\d.]+ ([kMG]B|bytes)/s", "[RATE]");
    settings.add_filter(r"http://127\.0\.0\.1:\d+", "[HUB]");
    settings
}

#[test]
fn a_model_is_downloaded_once_and_passes_offline_as_well() {
    let site = hub();
    let test = test(site.url());
    let recording = recording();
    let arguments = ["--model", "owner/tiny", "--recording", &recording];
    let benchmark = ["--benchmark", "loss_equivalence"];
    let run = test.run(arguments.iter().chain(&benchmark)).exits(0);
    settings().bind(|| insta::assert_snapshot!(run));
    let requests = site.requests().len();
    let run = test
        .run(arguments.iter().chain(&["--offline", "--format", "json"]))
        .exits(0);
    assert_eq!(site.requests().len(), requests);
    let opened = &run.events("model_opened")[0];
    insta::assert_json_snapshot!(opened["hub"], @r#"
    {
      "commit": "0123456789abcdef0123456789abcdef01234567",
      "id": "owner/tiny@main"
    }
    "#);
    let folder = test.path(&format!(
        "hugging_face/hub/models--owner--tiny/snapshots/{COMMIT}"
    ));
    assert_eq!(opened["folder"], folder.display().to_string());
    // A variable says the same.
    let test = test.variable("HF_HUB_OFFLINE", "1");
    test.run(arguments).exits(0);
    assert_eq!(site.requests().len(), requests);
}

#[test]
fn a_config_may_name_models_of_the_hub() {
    let site = hub();
    let test = test(site.url());
    let config = |run: &str| {
        let text = format!(
            "{run}[[models]]\nhub = 'owner/tiny@{COMMIT}'\nrecording = '{}'\n",
            recording()
        );
        test.write("tlbench.toml", text);
        test.run(["--quiet", "--benchmark", "loss_equivalence"])
    };
    let offline = config("[run]\noffline = true\n");
    insta::assert_snapshot!(offline.exits(101));
    assert_eq!(site.requests().len(), 0);
    config("").exits(0);
}

#[test]
fn inspect_and_record_take_them_as_well() {
    let site = hub();
    let test = test(site.url());
    let run = test.run(["inspect", "owner/tiny", "--quiet"]).exits(0);
    assert!(run.stdout.contains("3 layers"), "{run}");
    insta::assert_snapshot!(test.run(["record", "owner/tiny"]), @"
    exit code 2
    ----- stderr -----
    error: owner/tiny@main: the cache of the Hub is no place for a recording; name a file with --out FILE
    ");
    let arguments = [
        "record",
        "owner/tiny",
        "--out",
        "mine.safetensors",
        "--quiet",
    ];
    let run = test.run(arguments.iter().chain(&["--python", "/nonexistent/python"]));
    // There is no Python, but a model.
    let run = run.exits(101);
    assert!(run.stderr.contains("no live HuggingFace"), "{run}");
}

#[test]
fn a_twin_needs_the_config_alone() {
    let site = hub();
    let test = test(site.url());
    let arguments = ["twin", "owner/tiny", "--no-recording"];
    let run = test.run(arguments.iter().chain(&["--out", "twin"]));
    settings().bind(|| insta::assert_snapshot!(run.exits(0)));
    assert!(!site.log().contains("model.safetensors"), "{}", site.log());
    // What is there is no copy of the model.
    test.run(["inspect", "owner/tiny", "--offline"]).exits(101);
    let commit = format!("owner/tiny@{COMMIT}");
    let requests = site.requests().len();
    let again = ["twin", &commit, "--no-recording", "--offline"];
    test.run(again.iter().chain(&["--out", "again"])).exits(0);
    assert_eq!(site.requests().len(), requests);
}

#[test]
fn what_is_neither_a_folder_nor_on_the_hub() {
    let site = hub();
    let test = test(site.url());
    test.write("models/other/config.json", "{}");
    let models = [
        "other/tiny",
        "models/tiny",
        "tiny",
        "tiny@v1",
        "other/no--model",
        "./tiny",
        "a/b/c",
        "src/",
    ];
    let lines = models.map(|model| {
        let run = test.run(["inspect", model, "--quiet"]);
        run.exits(101).stderr
    });
    settings().bind(|| insta::assert_snapshot!(lines.concat(), @"
    error: other/tiny@main: found no such repository at [HUB]; if it is private, name a token in HF_TOKEN
    error: models/tiny@main: found no such repository at [HUB]; if it is private, name a token in HF_TOKEN; nor has the folder `models` a `tiny` in it
    error: tiny: expected a folder with a config.json, found nothing; a model of the Hub is named owner/tiny or tiny@main
    error: tiny@v1: found no such repository at [HUB]; if it is private, name a token in HF_TOKEN
    error: other/no--model: expected a folder with a config.json, found nothing; nor is it a model of the Hub: no owner and no name has `--` in it
    error: ./tiny: expected a folder with a config.json, found nothing
    error: a/b/c: expected a folder with a config.json, found nothing
    error: src/: expected a folder with a config.json, found nothing
    "));
}

#[test]
fn the_token_is_in_no_output() {
    let site = hub().for_holders_of("hf_another");
    let test = test(site.url()).variable("HF_TOKEN", SECRET);
    for format in ["human", "json"] {
        let run = test
            .run(["--model", "owner/tiny", "--verbose", "--format", format])
            .exits(101);
        assert!(site.log().contains("with a token"), "{}", site.log());
        assert!(
            run.to_string()
                .contains("Access to model owner/tiny is restricted"),
            "{run}"
        );
        assert!(!run.to_string().contains(SECRET), "{run}");
    }
}
