//! What a run is judged by, and what it says where that is missing.

use tlbench_checkpoint::ModelFolder;

use super::judge;
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;

/// Runs `checkpoint` where there is no Python.
fn without_python(test: &CliTest, checkpoint: &Checkpoint, arguments: &[&str]) -> Run {
    let folder = checkpoint.folder().display().to_string();
    let first = [
        "--quiet",
        "--python",
        "/nonexistent/python",
        "--model",
        &folder,
    ];
    test.run(first.iter().chain(arguments))
}

#[test]
fn without_recording_and_python_it_says_what_was_not_verified() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("bare"));
    insta::assert_snapshot!(without_python(&test, &checkpoint, &["--benchmark", "l*"]));
}

#[test]
fn whoever_wants_no_huggingface_is_told_that_the_spec_is_not_verified() {
    let test = CliTest::new();
    insta::assert_snapshot!(judge(&test, &["--no-hf-reference", "--benchmark", "l*"]));
}

#[test]
fn a_recording_from_elsewhere() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("bare"));
    let recording = fixture("recording.safetensors").display().to_string();
    let run = without_python(
        &test,
        &checkpoint,
        &["--recording", &recording, "--format", "json"],
    );
    assert_eq!(
        run.exits(0).events("reference_opened")[0]["reference"],
        "hf-recorded"
    );
}

#[test]
fn a_recording_that_is_named_has_to_be_there() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("bare"));
    let arguments = [
        "--recording",
        "none.safetensors",
        "--benchmark",
        "loss_equivalence",
    ];
    insta::assert_snapshot!(without_python(&test, &checkpoint, &arguments));
}

#[test]
fn a_recording_of_other_weights_is_refused_with_both_digests() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("other"))
        .with_recording()
        .with_tensors(|tensors| {
            let name = "transformer.ln_f.weight";
            let scaled = tensors[name].scaled(1.5);
            tensors.insert(name.into(), scaled);
        });
    let run = without_python(&test, &checkpoint, &["--benchmark", "loss_equivalence"]);
    for folder in [checkpoint.folder(), &fixture("")] {
        let digest = ModelFolder::open(folder).unwrap().weights_digest().unwrap();
        assert!(run.stdout.contains(&digest), "{digest}\n{run}");
    }
    insta::assert_snapshot!(run);
}

#[test]
fn a_recording_of_another_config_is_refused() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("other"))
        .with_recording()
        .with_config(|config| {
            config.insert("layer_norm_epsilon".into(), 1e-6.into());
        });
    let run = without_python(&test, &checkpoint, &["--format", "json"]).exits(101);
    let reason = run.events("reference_unavailable")[0]["reason"].to_string();
    assert!(reason.contains("recording of another config"), "{reason}");
}

#[test]
fn a_recording_that_is_none() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("mangled"))
        .with_recording()
        .with_file("recording.safetensors", |bytes| {
            bytes[..bytes.len() / 2].to_vec()
        });
    let run = without_python(&test, &checkpoint, &["--format", "json"]).exits(101);
    let reason = run.events("reference_unavailable")[0]["reason"].clone();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b\d{3,}\b", "#");
    settings.add_filter("tensor `[^`]*`", "tensor `...`");
    settings.bind(|| insta::assert_snapshot!(reason.as_str().unwrap(), @"hf-recorded: [FOLDER]/mangled/recording.safetensors: tensor `...`: data_offsets end at byte #, but the file holds # bytes of data; hf-python: `/nonexistent/python` was not found; name a Python that has torch and transformers in TLBENCH_PYTHON, or as `python` among the options of this reference"));
}

#[test]
fn recording_without_python() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("bare"));
    let folder = checkpoint.folder().display().to_string();
    let run = test.run(["record", &folder, "--python", "/nonexistent/python"]);
    insta::assert_snapshot!(run, @"
    exit code 101
    ----- stderr -----
    starting /nonexistent/python
    error: no live HuggingFace: hf-python: `/nonexistent/python` was not found; name a Python that has torch and transformers in TLBENCH_PYTHON, or as `python` among the options of this reference
    ");
    assert!(!checkpoint.file("recording.safetensors").exists());
}

#[test]
fn a_second_opinion_that_is_named_and_not_to_be_had_is_told_check_by_check() {
    let test = CliTest::new();
    let config = test.write(
        "named.toml",
        format!(
            "[[models]]\nname = 'tiny'\npath = '{}'\ndtype = 'bf16'\nreferences = ['hooked-transformer']\n\
             [[benchmarks]]\nname = 'loss_equivalence'\n",
            fixture("").display()
        ),
    );
    let config = config.display().to_string();
    insta::assert_snapshot!(test.run(["--quiet", "--config", &config]));
}
