//! What a user sees of tlbench, on the binary and plugins as they are shipped.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

mod bisect;
mod cli;
mod coverage;
mod diagnosis;
mod families;
mod faults;
mod kill_matrix;
mod library;
mod plugins;
mod sensitivity;
mod support;
mod tidy;
mod twin;
mod variations;
