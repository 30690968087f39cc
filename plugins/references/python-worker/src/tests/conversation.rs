//! Programs that speak as no worker does.

use super::*;

/// Kind and message of what a fake fails with.
fn fake_failure(name: &str) -> String {
    let (error, _) = failure(&fake(name), 1.0);
    let message = error.message.replace(&fake(name), name);
    format!("{}: {}", error.kind, message.replace(" (core dumped)", ""))
}

#[test]
fn no_such_interpreter() {
    let (error, _) = failure("/nowhere/python3", 1.0);
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(
        error.message,
        "`/nowhere/python3` was not found; name a Python that has torch in TLBENCH_FAKE_PYTHON, or as `python` among \
         the options of this reference"
    );
}

#[test]
fn not_a_program() {
    let (error, _) = failure(env!("CARGO_MANIFEST_DIR"), 1.0);
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.message.starts_with("cannot start `"), "{error}");
}

#[test]
fn one_that_dies_leaves_its_last_words() {
    let (error, told) = failure(&fake("dies"), 1.0);
    assert!(error.backtrace.unwrap().starts_with("Fatal Python error"));
    assert_eq!(told, [format!("starting {}", fake("dies"))]);
}

#[test]
fn what_each_ends_with() {
    let said = [
        "dies",
        "dies_at_work",
        "killed",
        "hangs_up",
        "deaf",
        "garbage",
        "nonsense",
        "half_a_frame",
        "absurd_blob",
        "another_answer",
        "lacks_torch",
    ]
    .map(fake_failure);
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_it_said_before_it_died_at_work_is_passed_on() {
    let (_, told) = failure(&fake("dies_at_work"), 1.0);
    assert_eq!(told[1..], ["loading"]);
}
