//! Programs that speak to the plugin as no worker does.

use super::*;

/// Kind and message of what opening with a fake fails with.
fn fake_failure(name: &str) -> String {
    let request = with_timeout(request(Path::new("/nowhere"), &fake(name)), 1.0);
    let (error, _) = failure(&request);
    let message = error.message.replace(&fake(name), name);
    format!("{}: {}", error.kind, message.replace(" (core dumped)", ""))
}

#[test]
fn no_such_interpreter() {
    let (error, _) = failure(&request(Path::new("/nowhere"), "/nowhere/python3"));
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(
        error.message,
        "`/nowhere/python3` was not found; name a Python that has torch and transformers in TLBENCH_PYTHON, or as \
         `python` among the options of this reference"
    );
}

#[test]
fn not_a_program() {
    let (error, _) = failure(&request(Path::new("/nowhere"), env!("CARGO_MANIFEST_DIR")));
    assert_eq!(error.kind, ErrorKind::Io);
    assert!(error.message.starts_with("cannot start `"), "{error}");
}

#[test]
fn one_that_dies_leaves_its_last_words() {
    let (error, told) = failure(&request(Path::new("/nowhere"), &fake("dies")));
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
    let (_, told) = failure(&request(Path::new("/nowhere"), &fake("dies_at_work")));
    assert_eq!(told[1..], ["loading"]);
}

#[test]
fn a_precision_that_is_not_measured() {
    let mut request = request(Path::new("/nowhere"), "python3");
    request.dtype = DType::I64;
    let (error, _) = failure(&request);
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.message, "hf-python measures no rounding of i64");
}
