//! `tlbench explain`: what a benchmark proves, and how.

use std::fmt::Write as _;

use tlbench_sdk::{Benchmark, BenchmarkInfo};

use crate::plugins::Registry;

/// A benchmark that nobody offers.
#[derive(Debug, thiserror::Error)]
#[error("benchmark `{name}`: expected one of {known}, found none of that name")]
pub struct UnknownBenchmark {
    /// As it was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

/// What the benchmark `name` says about itself.
///
/// # Errors
/// If no plugin offers it.
pub fn explain(registry: &Registry, name: &str) -> Result<String, UnknownBenchmark> {
    let Some(offer) = registry.benchmarks.get(name) else {
        let known: Vec<&str> = registry.benchmarks.keys().map(String::as_str).collect();
        return Err(UnknownBenchmark {
            name: name.to_owned(),
            known: if known.is_empty() {
                "none (no plugin offers any)".to_owned()
            } else {
                known.join(", ")
            },
        });
    };
    Ok(text(&offer.object.info()))
}

fn text(info: &BenchmarkInfo) -> String {
    let mut text = format!("{} ({})\n{}\n", info.id, info.module, info.description);
    if !info.explanation.is_empty() {
        text.push('\n');
        text.push_str(info.explanation.trim_end());
        text.push('\n');
    }
    if !info.options.is_empty() {
        text.push_str("\nOptions, in [[benchmarks]] of the config:\n");
    }
    for option in &info.options {
        let bound = option
            .at_least
            .map_or(String::new(), |bound| format!(", at least {bound}"));
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            text,
            "  {} = {}{bound}: {}",
            option.name, option.default, option.description
        );
    }
    text
}
