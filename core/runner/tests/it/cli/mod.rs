//! The command line.

mod checkpoints;
mod exit_codes;
#[cfg(unix)]
mod interrupts;
mod output;
mod overview;
mod references;
mod runs;

use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;

/// Runs the shipped checkpoint with `arguments`, without progress.
fn judge(test: &CliTest, arguments: &[&str]) -> Run {
    let model = fixture("").display().to_string();
    let first = ["--quiet", "--model", &model];
    test.run(first.iter().chain(arguments))
}
