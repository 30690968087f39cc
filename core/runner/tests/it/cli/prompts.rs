//! What the inputs are made of: a text, or token ids.

use serde_json::Value;
use tlbench_checkpoint::{ModelFolder, RECORDING_FILE, Recording};
use tlbench_sdk::INPUT_IDS;

use super::alone;
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::{CliTest, Run};

const TEXT: &str = "a quick fox";

/// Runs one benchmark on `checkpoint` by itself, with what `prompt` says.
fn run(test: &CliTest, checkpoint: &Checkpoint, prompt: &[&str]) -> Run {
    let arguments = [&["--benchmark", "loss*"], prompt].concat();
    alone(test, checkpoint, &arguments)
}

fn notes(run: &Run) -> Vec<String> {
    let text = |note: &Value| note["message"].as_str().unwrap().to_owned();
    run.events("note").iter().map(text).collect()
}

/// The shipped checkpoint, and the ids of `TEXT` in it.
fn checkpoint(test: &CliTest) -> (Checkpoint, String) {
    let checkpoint = Checkpoint::at(test.path("model"));
    let folder = ModelFolder::open(checkpoint.folder()).unwrap();
    let ids = folder.tokenizer().unwrap().encode(TEXT).unwrap();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    (checkpoint, ids.join(","))
}

#[test]
fn a_folder_without_a_tokenizer_works_with_token_ids() {
    let test = CliTest::new();
    let (checkpoint, ids) = checkpoint(&test);
    let with_text = run(&test, &checkpoint, &["--text", TEXT]).exits(0);
    let bare = checkpoint.without("tokenizer.json");
    let with_ids = run(&test, &bare, &["--tokens", &ids]).exits(0);
    assert_eq!(with_ids.measurements(), with_text.measurements());
    assert_eq!(notes(&with_ids), notes(&with_text));

    let with_bytes = run(&test, &bare, &["--text", TEXT]).exits(0);
    assert_ne!(with_bytes.measurements(), with_text.measurements());
    insta::assert_snapshot!(notes(&with_bytes)[0], @"no tokenizer: the bytes of the text serve as tokens (token ids can be given instead)");
}

#[test]
fn the_config_can_hold_token_ids() {
    let test = CliTest::new();
    let (checkpoint, ids) = checkpoint(&test);
    let config = test.write(
        "tlbench.toml",
        format!("[[models]]\nname = 'ids'\npath = 'model'\ninput_ids = [{ids}]\n"),
    );
    let config = config.display().to_string();
    let by_config = test.run([
        "--quiet",
        "--no-hf-reference",
        "--format",
        "json",
        "--benchmark",
        "loss*",
        "--config",
        &config,
    ]);
    let by_flag = run(&test, &checkpoint, &["--tokens", &ids]);
    assert_eq!(by_config.measurements(), by_flag.measurements());
}

#[test]
fn token_ids_that_the_model_does_not_take() {
    let test = CliTest::new();
    let (checkpoint, _) = checkpoint(&test);
    let failure = |prompt: &[&str]| run(&test, &checkpoint, prompt).exits(101).model_failure();
    let many = vec!["7"; 60].join(",");
    let messages = [
        failure(&["--tokens", "1,331"]),
        failure(&["--tokens", &many]),
    ];
    insta::assert_snapshot!(messages.join("\n"), @"
    input_ids: expected token ids below 331, found 331
    input_ids: expected at most 48 token ids (the model's context), found 60
    ");
}

#[test]
fn token_ids_that_are_no_list_of_numbers() {
    let test = CliTest::without_plugins();
    for prompt in [
        &["--tokens", "1,x"][..],
        &["--tokens", "-1"],
        &["--tokens", ""],
        &["--tokens", "1", "--text", "a"],
    ] {
        let run = test.run(prompt).exits(2);
        assert!(
            run.stdout.is_empty() && run.stderr.contains("--tokens"),
            "{run}"
        );
    }
}

/// The ids of the text that the shipped recording answers for.
fn recorded_tokens(checkpoint: &Checkpoint) -> String {
    let recording = Recording::read(&checkpoint.file(RECORDING_FILE)).unwrap();
    let text = &recording.answers[0].stimulus.request.inputs[INPUT_IDS];
    let ids = text.as_slice::<i64>().unwrap().iter();
    ids.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn a_recording_says_that_it_goes_before_a_text() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("model")).with_recording();
    let folder = checkpoint.folder().display().to_string();
    let told = |prompt: &[&str]| {
        let fixed = ["--quiet", "--format", "json", "--model", &folder];
        let run = test.run(fixed.iter().chain(prompt)).exits(0);
        notes(&run)
            .into_iter()
            .find(|note| note.starts_with("not used"))
    };
    assert_eq!(told(&[]), None);
    assert_eq!(told(&["--tokens", &recorded_tokens(&checkpoint)]), None);
    let messages = [&["--tokens", "1,2"], &["--text", "x"]].map(|prompt| told(prompt).unwrap());
    insta::assert_snapshot!(messages.join("\n"), @"
    not used: the list of token ids that was asked for (the recording answers for inputs of its own)
    not used: the text that was asked for (the recording answers for inputs of its own)
    ");
}
