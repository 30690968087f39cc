//! Benchmarks as assertions in somebody's test suite.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

use tlbench::config::Overrides;
use tlbench::{DType, Suite, SuiteError};

/// Whoever runs `cargo build` first has the plugins. This repository's tests do it on their own.
#[path = "it/support/built.rs"]
#[expect(dead_code, reason = "other tests do more with it")]
mod built;

fn repository() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn model() -> Result<Suite, SuiteError> {
    built::binary();
    // Tests run in the folder of their package.
    Suite::of_model("../../architectures/gpt2/fixtures/tiny")
}

#[test]
fn every_hook_and_the_logits_are_huggingfaces() -> Result<(), SuiteError> {
    let results = model()?.benchmark("forward_pass")?;
    assert!(results.passed(), "{results}");
    Ok(())
}

/// A test has a thread of its own, and each loads the plugins anew: what an earlier thread left behind is in nobody's way.
#[test]
fn one_thread_after_the_other_loads_plugins() -> Result<(), SuiteError> {
    (0..8).try_for_each(|_| {
        let load = std::thread::spawn(|| model().map(drop));
        load.join().expect("loading does not panic")
    })
}

#[test]
fn so_is_the_loss_in_a_narrow_precision() -> Result<(), SuiteError> {
    let narrow = Overrides {
        dtype: Some(DType::BF16),
        ..Overrides::default()
    };
    let results = model()?.with(narrow)?.benchmark("loss_equivalence")?;
    assert!(results.passed(), "{results}");
    Ok(())
}

#[test]
fn edits_at_hooks_do_what_they_do_in_huggingface() -> Result<(), SuiteError> {
    let results = model()?.benchmark("hook_functionality")?;
    for result in results.iter() {
        assert!(result.passed, "{result}");
    }
    Ok(())
}
