//! The worker in a real Python, with libraries that are none.

use std::process::Command;

use tempfile::TempDir;
use tlbench_python_worker::to_blob;
use tlbench_sdk::{ModelSpec, Tensor, TensorMap};

use super::*;

/// Where `python3` is, if it is new enough.
fn python3() -> Option<String> {
    let script = "import sys; print(sys.executable if sys.version_info >= (3, 9) else '')";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    let path = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    (!path.is_empty()).then_some(path)
}

/// Runs `$test` with the path of `python3`; says so where there is none.
macro_rules! with_python3 {
    ($test:expr) => {
        match python3() {
            Some(python) => $test(python),
            None => eprintln!("SKIPPED: there is no `python3` of 3.9 or later on this machine"),
        }
    };
}

fn fake(name: &str) -> String {
    format!("{}/src/fakes/{name}.sh", env!("CARGO_MANIFEST_DIR"))
}

/// A checkpoint of the small model.
fn checkpoint() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("config.json"),
        r#"{"model_type": "small"}"#,
    )
    .unwrap();
    let tensor = |shape: &[usize]| {
        let zeros = vec![0.0_f32; shape.iter().product()];
        Tensor::from_vec(zeros, shape).unwrap()
    };
    let spec = spec();
    let sources = spec.sources().into_iter();
    let tensors: TensorMap = sources
        .map(|(_, source)| (source.names[0].clone(), tensor(&source.shape)))
        .collect();
    let file = folder.path().join("model.safetensors");
    std::fs::write(file, to_blob(&tensors).unwrap()).unwrap();
    // The bridge takes a folder's own, whatever it is; without one it is given a real one.
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    folder
}

/// What a fake is opened as, or why it is not.
fn opened(python: &str, fake_name: &str, role: Role, api: Option<&str>) -> String {
    opened_with(python, fake_name, role, api, |_| {})
}

/// The same of another model.
fn opened_with(
    python: &str,
    fake_name: &str,
    role: Role,
    api: Option<&str>,
    edit: impl FnOnce(&mut ModelSpec),
) -> String {
    let folder = checkpoint();
    let mut request = request(folder.path(), &fake(fake_name));
    edit(&mut request.spec);
    request.role = role;
    request
        .options
        .extend(api.map(|api| ("api".to_owned(), json!(api))));
    let opened = TransformerLens::default().open(&request, &Silence);
    match opened {
        Ok(source) => {
            let provenance = source.info().provenance;
            format!(
                "{} of transformer-lens {}",
                provenance["api"], provenance["transformer-lens"]
            )
        }
        Err(error) => {
            let message = error.message.replace(python, "[PYTHON]");
            let message = message.replace(env!("CARGO_MANIFEST_DIR"), "[PLUGIN]");
            format!("{}: {message}", error.kind)
        }
    }
}

#[test]
fn a_release_is_asked_by_the_best_class_that_it_has() {
    with_python3!(|python: String| {
        let lines = [
            ("release_3", Role::Reference),
            ("release_3", Role::Subject),
            ("python", Role::Reference),
            ("python", Role::Subject),
        ]
        .map(|(release, role)| opened(&python, release, role, None));
        insta::assert_snapshot!(lines.join("\n"), @"
        HookedTransformer of transformer-lens 3.9.0
        TransformerBridge of transformer-lens 3.9.0
        TransformerBridge of transformer-lens 4.3.0
        TransformerBridge of transformer-lens 4.3.0
        ");
    });
}

#[test]
fn a_model_that_hooked_transformer_does_not_build_is_the_bridges() {
    with_python3!(|python: String| {
        let lines = [
            (Role::Subject, None),
            (Role::Reference, None),
            (Role::Reference, Some("hooked")),
        ]
        .map(|(role, api)| {
            opened_with(&python, "release_3", role, api, |spec| {
                spec.unembed.softcap = Some(3.0);
            })
        });
        insta::assert_snapshot!(lines.join("\n"), @"
        TransformerBridge of transformer-lens 3.9.0
        TransformerBridge of transformer-lens 3.9.0
        unsupported: unembed: transformer-lens builds no model with a softcap of the logits
        ");
    });
}

#[test]
fn a_class_that_a_release_does_not_have_is_named() {
    with_python3!(|python: String| {
        insta::assert_snapshot!(opened(&python, "release_3", Role::Subject, Some("hooked")), @"HookedTransformer of transformer-lens 3.9.0");
        insta::assert_snapshot!(opened(&python, "python", Role::Subject, Some("hooked")), @"unsupported: transformer-lens 4.3.0 has no HookedTransformer (cannot import name 'HookedTransformer' from 'transformer_lens' ([PLUGIN]/src/fakes/packages/transformer_lens/__init__.py))");
    });
}

#[test]
fn libraries_that_cannot_be_had_are_named_with_the_remedy() {
    with_python3!(|python: String| {
        let said = ["missing_torch", "old_transformer_lens"]
            .map(|name| opened(&python, name, Role::Reference, None));
        insta::assert_snapshot!(said.join("\n"));
    });
}

#[test]
fn a_checkpoint_without_a_tensor_is_refused_before_python_reads_it() {
    with_python3!(|_| {
        let folder = checkpoint();
        let file = folder.path().join("model.safetensors");
        let tensors = TensorMap::from([("wte".to_owned(), Tensor::scalar(0.0_f32))]);
        std::fs::write(file, to_blob(&tensors).unwrap()).unwrap();
        let error = failure(&request(folder.path(), &fake("python")));
        assert_eq!(error.kind, ErrorKind::InvalidInput);
        let message = error
            .message
            .replace(&folder.path().display().to_string(), "[FOLDER]");
        insta::assert_snapshot!(message, @"[FOLDER]/model.safetensors: tensor `wte`: expected shape [23, 12], found []");
    });
}

#[test]
fn every_module_of_the_worker_parses_in_python_3_9() {
    with_python3!(|python: String| {
        let script = "import ast, sys; ast.parse(sys.argv[1], feature_version=(3, 9))";
        for (name, source) in PROGRAM.modules {
            let output = Command::new(&python)
                .args(["-c", script, source])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {said}");
        }
    });
}

#[test]
fn every_module_of_the_worker_is_sent() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/worker");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let sent: Vec<_> = PROGRAM
        .modules
        .iter()
        .map(|(name, _)| format!("{name}.py"))
        .collect();
    assert_eq!(files, sent);
}
