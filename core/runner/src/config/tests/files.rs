//! What a file says, and what it leaves at its default.

use super::*;

#[test]
fn an_empty_file_leaves_everything_at_its_default() {
    assert_eq!(parse(""), Config::default());
    assert_eq!(parse("[run]\n[plugins]\n[reference]\n"), Config::default());
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
        [run]
        device = "cpu"
        dtype = "f64"
        judging = "tolerance"
        text = "one two"
        references = ["bridge", "hf-python"]
        compat = false
        max_tokens = 0x20
        offline = true
        sensitivity = true
        min_sensitivity = 0.95

        [[models]]
        name = "first"
        path = "models/tiny"
        recording = "recordings/tiny.safetensors"
        architecture = "my_family"
        dtype = "f32"
        text = "three"
        references = ["hf"]

        [[benchmarks]]
        name = "first_*"
        options = { atol = 1e-3 }

        [plugins]
        paths = ["plugins", "/opt/tlbench/libtlbench_more.so"]

        [reference.hf-python]
        python = "python3"
        "#,
    );
    insta::assert_debug_snapshot!(config, @r#"
    Config {
        models: [
            ModelEntry {
                name: "first",
                source: Folder(
                    "project/models/tiny",
                ),
                recording: Some(
                    "project/recordings/tiny.safetensors",
                ),
                subject: None,
                architecture: Some(
                    "my_family",
                ),
                dtype: F32,
                prompt: Text(
                    "three",
                ),
                references: [
                    Tier(
                        HuggingFace,
                    ),
                ],
            },
        ],
        run: RunSettings {
            subject: None,
            device: Cpu,
            dtype: F64,
            judging: Tolerance,
            prompt: Text(
                "one two",
            ),
            references: [
                Tier(
                    BridgeAlone,
                ),
                Id(
                    "hf-python",
                ),
            ],
            compat: false,
            max_tokens: Some(
                32,
            ),
            offline: true,
            sensitivity: Some(
                Sensitivity {
                    faults: [],
                    complete: false,
                    minimum: Some(
                        0.95,
                    ),
                    diagnose: false,
                    random_inputs: 100,
                },
            ),
            excluded_tiers: {},
        },
        benchmarks: [
            BenchmarkEntry {
                name: "first_*",
                options: {
                    "atol": Float(
                        0.001,
                    ),
                },
                selects: true,
            },
        ],
        plugins: PluginSettings {
            paths: [
                "project/plugins",
                "/opt/tlbench/libtlbench_more.so",
            ],
        },
        references: {
            "hf-python": {
                "python": String(
                    "python3",
                ),
            },
        },
    }
    "#);
}

#[test]
fn a_model_takes_over_what_holds_for_the_run() {
    let config = parse(
        "[[models]]\npath = 'a/tiny'\n[[models]]\npath = 'b/small'\ndtype = 'f32'\ninput_ids = [5, 6]\n[run]\ndtype = 'f64'\ntext = 'x'",
    );
    let summary: Vec<_> = config
        .models
        .iter()
        .map(|model| (model.name.as_str(), model.dtype, model.prompt.clone()))
        .collect();
    assert_eq!(
        summary,
        [
            ("tiny", DType::F64, Prompt::Text("x".into())),
            ("small", DType::F32, Prompt::Tokens(vec![5, 6])),
        ]
    );
    assert_eq!(
        config.models[0].references,
        RunSettings::default().references
    );
}

#[test]
fn a_model_of_the_hub_is_named_after_its_repository() {
    let config = parse("[[models]]\nhub = 'owner/tiny'\n[[models]]\nhub = 'old@v1'\nname = 'mine'");
    let summary: Vec<_> = config
        .models
        .iter()
        .map(|model| (model.name.as_str(), model.source.to_string()))
        .collect();
    let expected = [("tiny", "owner/tiny@main"), ("mine", "old@v1")];
    assert_eq!(summary, expected.map(|(name, id)| (name, id.to_owned())));
}

#[test]
fn paths_are_relative_to_the_folder_of_the_file() {
    let config = parse("[[models]]\npath = '../tiny'\n[plugins]\npaths = ['/abs', 'rel']");
    let tiny = ModelSource::Folder("project/../tiny".into());
    assert_eq!(config.models[0].source, tiny);
    assert_eq!(config.models[0].name, "tiny");
    assert_eq!(
        config.plugins.paths,
        [Path::new("/abs"), Path::new("project/rel")]
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("no/such.toml")).unwrap_err();
    insta::assert_snapshot!(error, @"no/such.toml: cannot be read: No such file or directory (os error 2)");
}
