//! The real worker, in a real Python, with libraries that misbehave.

use std::process::Command;

use tempfile::TempDir;

use super::*;

/// Generous, as machines are busy; what hangs is waited for so long.
const SILENCE: f64 = 5.0;

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
            Some(python) => $test(Python(python)),
            None => eprintln!("SKIPPED: there is no `python3` of 3.9 or later on this machine"),
        }
    };
}

struct Python(String);

impl Python {
    /// `text` without what differs from machine to machine.
    fn normal(&self, fake_name: &str, text: &str) -> String {
        let text = text
            .replace(&fake(fake_name), fake_name)
            .replace(&self.0, "[PYTHON]")
            .replace(" (core dumped)", "");
        let version = Command::new(&self.0).arg("--version").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        text.replace(version.trim(), "Python [VERSION]")
    }

    fn told(&self, fake_name: &str, told: &[String]) -> String {
        let told = self.normal(fake_name, &told.join("\n"));
        let time = told
            .rfind(" imported in ")
            .map_or(told.len(), |at| at + " imported in ".len());
        let after = told[time..].find(" s").map_or(told.len(), |at| time + at);
        format!("{}[TIME]{}", &told[..time], &told[after..])
    }

    /// Kind and message of what opening with a fake fails with.
    fn failure(&self, fake_name: &str) -> String {
        let request = with_timeout(request(Path::new("/nowhere"), &fake(fake_name)), SILENCE);
        let (error, _) = failure(&request);
        format!("{}: {}", error.kind, self.normal(fake_name, &error.message))
    }
}

/// A checkpoint of which transformers reads the config, and makes happen what that says.
fn checkpoint(happens: Option<&str>) -> TempDir {
    let folder = TempDir::new().unwrap();
    let config = json!({"model_type": "fake", "happens": happens}).to_string();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    folder
}

#[test]
fn what_starting_costs_is_told() {
    with_python3!(|python: Python| {
        let (folder, listener) = (checkpoint(None), Listener::default());
        HfPython::default()
            .open(&request(folder.path(), &fake("python")), &listener)
            .unwrap();
        insta::assert_snapshot!(python.told("python", &listener.told()));
    });
}

#[test]
fn libraries_that_cannot_be_had_are_named_with_the_remedy() {
    with_python3!(|python: Python| {
        let said = [
            "missing_torch",
            "broken_torch",
            "old_torch",
            "old_transformers",
        ]
        .map(|name| python.failure(name));
        insta::assert_snapshot!(said.join("\n"));
    });
}

/// What becomes of a model of which `happens` happens while it is opened, and of the next one.
fn opened_in_turn(python: &Python, happens: &str) -> String {
    let (bad, good) = (checkpoint(Some(happens)), checkpoint(None));
    let (pythons, listener) = (HfPython::default(), Listener::default());
    let open = |folder: &TempDir| {
        let request = with_timeout(request(folder.path(), &fake("python")), SILENCE);
        pythons.open(&request, &listener)
    };
    let error = open(&bad).err().unwrap();
    open(&good).unwrap();
    let starts = listener
        .told()
        .iter()
        .filter(|told| told.starts_with("starting"))
        .count();
    let message = python
        .normal("python", &error.to_string())
        .replace(&bad.path().display().to_string(), "[FOLDER]");
    format!("{happens}: {}: {message}; {starts} started", error.kind)
}

#[test]
fn one_that_failed_is_replaced_for_the_next_model_and_one_that_only_refused_serves_it() {
    with_python3!(|python: Python| {
        let said =
            ["is_broken", "lacks_memory", "dies"].map(|happens| opened_in_turn(&python, happens));
        insta::assert_snapshot!(said.join("\n"));
    });
}

#[test]
fn one_python_serves_model_after_model_and_another_one_two_at_once() {
    with_python3!(|_| {
        let (folder, listener) = (checkpoint(None), Listener::default());
        let pythons = HfPython::default();
        let starts = || {
            listener
                .told()
                .iter()
                .filter(|told| told.starts_with("starting"))
                .count()
        };
        let open = |name| {
            pythons
                .open(&request(folder.path(), &fake(name)), &listener)
                .unwrap()
        };
        drop(open("python"));
        let first = open("python");
        assert_eq!(starts(), 1);
        let second = open("python");
        assert_eq!(starts(), 2);
        drop((first, second));
        drop((open("python"), open("python")));
        assert_eq!(starts(), 2);
    });
}

#[test]
fn every_module_of_the_worker_parses_in_python_3_9() {
    with_python3!(|python: Python| {
        let script = "import ast, sys; ast.parse(sys.argv[1], feature_version=(3, 9))";
        for (name, source) in PROGRAM.modules {
            let output = Command::new(&python.0)
                .args(["-c", script, source])
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
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
