//! The shipped checkpoint against a real TransformerLens, where a Python that has it is named.

use crate::support::built::plugin;
use crate::support::cli_test::CliTest;
use crate::support::fixture;

/// Every module of benchmarks.
const BENCHMARKS: [&str; 6] = [
    "tlbench_activation_cache",
    "tlbench_backward_gradients",
    "tlbench_generation",
    "tlbench_hook_registration",
    "tlbench_invariants",
    "tlbench_weight_processing",
];

#[test]
#[ignore = "needs TLBENCH_TEST_TRANSFORMER_LENS, a Python that has transformer_lens below 4"]
fn the_bridge_is_what_hooked_transformer_is() {
    let python = std::env::var("TLBENCH_TEST_TRANSFORMER_LENS");
    let python = python.expect("TLBENCH_TEST_TRANSFORMER_LENS");
    let test = BENCHMARKS
        .iter()
        .chain(&["tlbench_transformer_lens"])
        .fold(CliTest::new(), |test, name| test.plugin(plugin(name)))
        .variable("TLBENCH_TRANSFORMER_LENS_PYTHON", python);
    let model = fixture("").display().to_string();
    let config = format!(
        "[[models]]\nname = 'tiny'\npath = '{model}'\nreferences = ['transformer-lens']\n[[benchmarks]]\nname = '*'\n"
    );
    let config = test.write("tlbench.toml", config).display().to_string();
    test.run(["--quiet", "--config", &config]).exits(0);
}
