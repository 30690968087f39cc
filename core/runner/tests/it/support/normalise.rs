//! What differs from run to run or from machine to machine, taken out of snapshots.

use std::path::Path;

use insta::Settings;

use super::repository;

/// Settings for a test in `folder`.
pub(crate) fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::clone_current();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap_or(folder);
    // The test's folder lies in the target folder, and that usually in the repository.
    for (path, name) in [
        (folder, "[FOLDER]"),
        (target, "[TARGET]"),
        (&repository(), "[REPOSITORY]"),
    ] {
        settings.add_filter(&literal(&path.display().to_string()), name);
    }
    for (pattern, replacement) in [
        (r"\b0\.1\.0\b", "[VERSION]"),
        (r"rustc \d+\.\d+\.\d+[-.\w]* \([^)]*\)", "[RUSTC]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r" in \d+\.\d\d s\b", " in [TIME]"),
        (r"(\.rs):\d+", "$1:[LINE]"),
        // Rounding errors are the processor's.
        (
            r"(cumulative|local|logits|log_probs|per token) \d[\d.]*(e\d+)?",
            "$1 [RATIO]",
        ),
        (r"\[RATIO\] \([a-zA-Z0-9_.]+\)", "[RATIO] ([HOOK])"),
        (
            r"worst error ratio \d[\d.]*(e\d+)? \([^)]*\)",
            "worst error ratio [RATIO] ([WHERE])",
        ),
        (r"cosine( +)[01]\.\d+", "cosine$1[COSINE]"),
        (r"\d+\.\d{6} for \d+\.\d{6}", "[LOSS] for [LOSS]"),
        (r"\b\d\.\d+e(-?\d+)", "#e$1"),
    ] {
        settings.add_filter(pattern, replacement);
    }
    settings
}

/// A pattern that matches `text` and nothing else.
fn literal(text: &str) -> String {
    let escaped = text.chars().map(|c| {
        if c.is_alphanumeric() || matches!(c, '/' | '_') {
            c.to_string()
        } else {
            format!("\\{c}")
        }
    });
    escaped.collect()
}
