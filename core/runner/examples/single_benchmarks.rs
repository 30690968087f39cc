//! One benchmark at a time, with its result in hand.
//!
//! `cargo run --release --workspace --example single_benchmarks`

use std::error::Error;
use std::io::{self, Write};

use tlbench::{Mode, Suite};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let shipped = "architectures/gpt2/fixtures/tiny";
    let model = Suite::of_model(shipped)?;

    // A benchmark has a check for each input and mode, and each has a line: 🟢 [PASS] forward_pass/text: ...
    writeln!(out, "{}", model.benchmark("forward_pass")?)?;

    // A module, or a glob, means several benchmarks.
    for result in model.benchmark("*_equivalence")?.iter() {
        if result.check.mode == Mode::Raw {
            writeln!(out, "{result}")?;
        }
    }

    // Everything that was measured is there as numbers.
    let results = model.benchmark("logits_equivalence")?;
    let measured = results.iter().flat_map(|result| &result.measurements);
    let worst = measured.map(|m| m.ratio).fold(0.0, f64::max);
    writeln!(out, "worst error ratio of the logits: {worst:.2}")?;
    Ok(())
}
