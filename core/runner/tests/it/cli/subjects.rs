//! Who can be put on trial with `--subject`.

use super::judge;
use crate::support::cli_test::CliTest;

#[test]
fn a_subject_that_nobody_knows_is_told_with_those_that_there_are() {
    let test = CliTest::new();
    insta::assert_snapshot!(judge(&test, &["--subject", "nobody"]));
}

#[test]
fn a_recording_cannot_be_put_on_trial() {
    let test = CliTest::new();
    insta::assert_snapshot!(judge(&test, &["--subject", "hf-recorded"]));
}
