//! What wins over the file.

use tlbench_sdk::{DType, Judging, Tier};

use super::*;

const FILE: &str = "
    [run]
    text = 'x'
    [[models]]
    name = 'one'
    path = 'a'
    recording = 'a.rec'
    [[models]]
    name = 'two'
    path = 'b'
    dtype = 'f64'
    [[benchmarks]]
    name = 'first_check'
    options = { atol = 1.0 }
    [plugins]
    paths = ['file']
    [reference.hf-python]
    python = 'python3'
    timeout = 5
";

fn with(overrides: Overrides) -> Config {
    parse(FILE).with_overrides(overrides).unwrap()
}

#[test]
fn nothing_said_is_nothing_changed() {
    assert_eq!(with(Overrides::default()), parse(FILE));
}

#[test]
fn what_is_said_holds_for_every_model_whatever_the_file_says_of_it() {
    let config = with(Overrides {
        dtype: Some(DType::F32),
        prompt: Some(Prompt::Tokens(vec![1, 2])),
        judging: Some(Judging::Tolerance),
        device: Some(Device::Cpu),
        compat: Some(false),
        offline: Some(true),
        excluded_tiers: [Tier::HuggingFace].into(),
        ..Overrides::default()
    });
    for model in &config.models {
        assert_eq!(model.dtype, DType::F32);
        assert_eq!(model.prompt, Prompt::Tokens(vec![1, 2]));
    }
    assert_eq!(config.run.judging, Judging::Tolerance);
    assert!(!config.run.compat);
    assert!(config.run.offline);
    assert_eq!(config.run.excluded_tiers, [Tier::HuggingFace].into());
}

#[test]
fn a_model_is_chosen_by_name_or_else_is_a_folder_or_else_one_of_the_hub() {
    let config = with(Overrides {
        models: [
            "two",
            "c/three/",
            "../three",
            "../three",
            "src",
            "src/config",
            "none",
            "owner/four",
            "owner/four@v1",
            "five@v1",
            "owner/no--model",
        ]
        .map(str::to_owned)
        .into(),
        ..Overrides::default()
    });
    let summary: Vec<_> = config
        .models
        .iter()
        .map(|model| {
            (
                model.name.as_str(),
                model.source.clone(),
                model.dtype,
                model.prompt.clone(),
            )
        })
        .collect();
    let x = || Prompt::Text("x".into());
    let folder = |path: &str| ModelSource::Folder(path.into());
    let hub = |id: &str| ModelSource::Hub(id.parse().unwrap());
    let expected = [
        ("two", folder("project/b"), DType::F64, x()),
        ("three", folder("c/three/"), DType::F32, x()),
        ("../three", folder("../three"), DType::F32, x()),
        ("src", folder("src"), DType::F32, x()),
        // The tests run in the folder of the crate.
        ("config", folder("src/config"), DType::F32, x()),
        ("none", folder("none"), DType::F32, x()),
        ("four", hub("owner/four@main"), DType::F32, x()),
        ("owner/four@v1", hub("owner/four@v1"), DType::F32, x()),
        ("five", hub("five@v1"), DType::F32, x()),
        ("no--model", folder("owner/no--model"), DType::F32, x()),
    ];
    assert_eq!(summary, expected);
}

#[test]
fn a_recording_is_of_one_model() {
    let overrides = |models: &[&str]| Overrides {
        models: models.iter().map(|&model| model.to_owned()).collect(),
        recording: Some("r".into()),
        ..Overrides::default()
    };
    let config = with(overrides(&["one"]));
    assert_eq!(config.models[0].recording.as_deref(), Some(Path::new("r")));
    let errors = [parse(FILE), Config::default()].map(|config| {
        config
            .with_overrides(overrides(&[]))
            .unwrap_err()
            .to_string()
    });
    insta::assert_snapshot!(errors.join("\n"), @"
    the recording r is of one model, but there are 2: one, two; choose one of them with --model
    the recording r is of one model, but there are none; choose one of them with --model
    ");
}

#[test]
fn benchmarks_are_chosen_anew_and_keep_their_options() {
    let config = with(Overrides {
        benchmarks: vec!["second_*".into()],
        ..Overrides::default()
    });
    let expected = [
        BenchmarkEntry {
            name: "first_check".into(),
            options: table("atol = 1.0"),
            selects: false,
        },
        BenchmarkEntry::new("second_*"),
    ];
    assert_eq!(config.benchmarks, expected);
}

#[test]
fn plugins_come_first_and_settings_of_references_key_by_key() {
    let config = with(Overrides {
        plugins: vec!["cli".into(), "env".into()],
        references: [("hf-python".to_owned(), table("python = '/usr/bin/python'"))].into(),
        ..Overrides::default()
    });
    assert_eq!(
        config.plugins.paths,
        [
            Path::new("cli"),
            Path::new("env"),
            Path::new("project/file")
        ]
    );
    let expected = table("python = '/usr/bin/python'\ntimeout = 5");
    assert_eq!(config.references["hf-python"], expected);
}

#[test]
fn those_of_the_command_line_say_what_is_known() {
    let errors = [
        "gpu".parse::<Device>().unwrap_err(),
        parse_dtype("i64").unwrap_err(),
        parse_dtype("float32").unwrap_err(),
        parse_judging("strict").unwrap_err(),
    ]
    .map(|error| error.to_string());
    insta::assert_snapshot!(errors.join("\n"), @r#"
    expected `cpu`, the only device so far, found "gpu"
    expected `f32`, `f64`, `bf16` or `f16`, found "i64"
    expected `f32`, `f64`, `bf16` or `f16`, found "float32"
    expected `calibrated` or `tolerance`, found "strict"
    "#);
    assert_eq!(Device::Cpu.to_string().parse(), Ok(Device::Cpu));
}
