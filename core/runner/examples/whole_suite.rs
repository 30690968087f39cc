//! Everything that the plugins offer, on one model, with its results counted.
//!
//! `cargo run --release --workspace --example whole_suite [FOLDER or OWNER/NAME]`

use std::error::Error;
use std::io::{self, Write};

use tlbench::Suite;
use tlbench::config::Overrides;

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::env::args().nth(1);
    let shipped = "architectures/gpt2/fixtures/tiny";
    let suite = Suite::of_model(model.as_deref().unwrap_or(shipped))?.with(Overrides {
        // `Some(true)`, the default, tries processed weights as well.
        compat: Some(false),
        ..Overrides::default()
    })?;

    let results = suite.run()?;
    let passed = results.iter().filter(|result| result.passed).count();
    let mut out = io::stdout().lock();
    writeln!(out, "{results}")?;
    writeln!(out, "Passed: {passed}/{} checks", results.iter().count())?;
    // What was not verified is no success either.
    if results.passed() {
        Ok(())
    } else {
        Err("not everything passed".into())
    }
}
