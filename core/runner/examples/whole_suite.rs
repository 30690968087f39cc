//! Everything that the plugins offer, on one model, with its results counted.
//!
//! `cargo run --release --workspace --example whole_suite [FOLDER or OWNER/NAME]`

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use tlbench::Suite;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let model = std::env::args().nth(1);
    let model = model
        .as_deref()
        .unwrap_or("architectures/gpt2/fixtures/tiny");
    // What options of the command line would say, `Suite::with` does.
    let results = Suite::of_model(model)?.run()?;

    let passed = results.iter().filter(|result| result.passed).count();
    let mut out = io::stdout().lock();
    write!(out, "{}", results.report())?;
    writeln!(out, "Passed: {passed}/{} checks", results.iter().count())?;
    // That of the command: 0 if every check passed. What was not verified is no success.
    Ok(results.outcome().exit_code().into())
}
