//! The command line.

mod checkpoints;
mod exit_codes;
mod forms;
mod hub;
#[cfg(unix)]
mod interrupts;
mod output;
mod overview;
mod precisions;
mod prompts;
mod references;
mod runs;
mod subjects;
mod transformer_lens;

use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;

/// Runs `checkpoint` by itself, with `arguments`, as JSON.
fn alone(test: &CliTest, checkpoint: &Checkpoint, arguments: &[&str]) -> Run {
    let folder = checkpoint.folder().display().to_string();
    let first = [
        "--quiet",
        "--no-hf-reference",
        "--format",
        "json",
        "--model",
        &folder,
    ];
    test.run(first.iter().chain(arguments))
}

/// Runs the shipped checkpoint with `arguments`, without progress.
fn judge(test: &CliTest, arguments: &[&str]) -> Run {
    let model = fixture("").display().to_string();
    let first = ["--quiet", "--model", &model];
    test.run(first.iter().chain(arguments))
}
