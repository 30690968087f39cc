//! The real worker, in a real Python, with a library that misbehaves.

use std::process::Command;

use super::*;
use crate::program::SHARED;
use crate::tests::program::UNKNOWN;

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
            Some(python) => $test(Interpreter(python)),
            None => eprintln!("SKIPPED: there is no `python3` of 3.9 or later on this machine"),
        }
    };
}

struct Interpreter(String);

impl Interpreter {
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

    /// Kind and message of what a fake fails with.
    fn failure(&self, fake_name: &str) -> String {
        let (error, _) = failure(&fake(fake_name), SILENCE);
        format!("{}: {}", error.kind, self.normal(fake_name, &error.message))
    }
}

fn works(fake_name: &str) {
    let told = Told::default();
    let python = take(&Pool::new(&PROGRAM), &fake(fake_name), SILENCE, &told).unwrap();
    happen(&python, None, &told).unwrap();
}

#[test]
fn what_is_printed_at_import_disturbs_nobody() {
    with_python3!(|_| works("prints_at_import"));
}

#[test]
fn what_is_printed_at_work_disturbs_nobody() {
    with_python3!(|_| {
        let told = Told::default();
        let python = take(&Pool::new(&PROGRAM), &fake("python"), SILENCE, &told).unwrap();
        for _ in 0..2 {
            happen(&python, Some("prints"), &told).unwrap();
        }
    });
}

#[test]
fn the_environment_disturbs_nobody() {
    with_python3!(|_| works("odd_environment"));
}

#[test]
fn a_library_that_cannot_be_had_is_named_with_the_remedy() {
    with_python3!(|python: Interpreter| {
        let said = [
            "missing_torch",
            "lacks_numpy",
            "broken_torch",
            "exits_at_import",
            "old_torch",
            "too_old_for_the_program",
            "old_python",
        ]
        .map(|name| python.failure(name));
        insta::assert_snapshot!(said.join("\n"));
    });
}

#[test]
fn imports_that_end_the_process_are_named() {
    with_python3!(|python: Interpreter| {
        let said = ["dies_at_import", "crashes_at_import"].map(|name| python.failure(name));
        insta::assert_snapshot!(said.join("\n"));
    });
}

#[test]
fn silence_ends_with_what_it_was_about_and_where_it_hung() {
    with_python3!(|python: Interpreter| {
        let (error, _) = failure(&fake("hangs_at_import"), SILENCE);
        insta::assert_snapshot!(python.normal("hangs_at_import", &error.message));
        assert!(error.backtrace.unwrap().contains("happens.py\", line"));
    });
}

#[test]
fn a_method_that_the_program_has_not() {
    with_python3!(|_| {
        let python = take(
            &Pool::new(&PROGRAM),
            &fake("python"),
            SILENCE,
            &Told::default(),
        )
        .unwrap();
        let asked = python.ask::<Value>(UNKNOWN, json!({}), Vec::new(), &|_| {});
        let error = asked.unwrap_err();
        assert_eq!(error.to_string(), "there is no method `guess`");
    });
}

/// What becomes of one in which `what` happens, and of the next one.
fn taken_in_turn(interpreter: &Interpreter, what: &str) -> String {
    let (pool, told) = (Pool::new(&PROGRAM), Told::default());
    let python = take(&pool, &fake("python"), SILENCE, &told).unwrap();
    let error = happen(&python, Some(what), &told).unwrap_err();
    drop(python);
    let python = take(&pool, &fake("python"), SILENCE, &told).unwrap();
    happen(&python, None, &told).unwrap();
    let message = interpreter.normal("python", &error.to_string());
    format!(
        "{what}: {}: {message}; {} started",
        error.kind,
        told.starts()
    )
}

#[test]
fn one_that_ended_is_replaced_and_one_that_only_failed_serves_on() {
    with_python3!(|interpreter: Interpreter| {
        let said = [
            "is_broken",
            "exits",
            "lacks_memory",
            "lacks_memory_in_torch",
            "lacks_memory_for_a_file",
            "dies",
            "crashes",
            "is_killed",
            "hangs",
            "spins",
        ]
        .map(|what| taken_in_turn(&interpreter, what));
        insta::assert_snapshot!(said.join("\n"));
    });
}

#[test]
fn one_python_serves_one_after_the_other_and_another_one_two_at_once() {
    with_python3!(|_| {
        let (pool, told) = (Pool::new(&PROGRAM), Told::default());
        let take = |name| take(&pool, &fake(name), SILENCE, &told).unwrap();
        drop(take("python"));
        let first = take("python");
        assert_eq!(told.starts(), 1);
        let second = take("python");
        assert_eq!(told.starts(), 2);
        drop((first, second));
        drop((take("python"), take("python")));
        assert_eq!(told.starts(), 2);
        // Another interpreter, though it has the same libraries.
        drop(take("prints_at_import"));
        assert_eq!(told.starts(), 3);
    });
}

#[test]
fn one_that_hangs_or_crashes_at_work() {
    with_python3!(|interpreter: Interpreter| {
        let said = ["hangs_at_work", "crashes_at_work"].map(|name| {
            let told = Told::default();
            let python = take(&Pool::new(&PROGRAM), &fake(name), SILENCE, &told).unwrap();
            let error = happen(&python, None, &told).unwrap_err();
            // Nobody answers any more, for the same reason.
            assert_eq!(happen(&python, None, &told).unwrap_err(), error);
            interpreter.normal(name, &error.message)
        });
        insta::assert_snapshot!(said.join("\n"));
    });
}

#[test]
fn every_shared_module_parses_in_python_3_9() {
    with_python3!(|python: Interpreter| {
        let script = "import ast, sys; ast.parse(sys.argv[1], feature_version=(3, 9))";
        for (name, source) in SHARED {
            let output = Command::new(&python.0)
                .args(["-c", script, source])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {said}");
        }
    });
}

#[test]
fn every_shared_module_is_sent() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/worker");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "bootstrap.py")
        .collect();
    files.sort();
    let sent: Vec<_> = SHARED
        .iter()
        .map(|(name, _)| format!("{name}.py"))
        .collect();
    assert_eq!(files, sent);
}
