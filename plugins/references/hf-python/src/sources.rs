//! What runs in Python; it travels inside the plugin, so that the two cannot be out of step.

use tlbench_python_worker::{Library, Program};

/// What the plugin asks.
pub(crate) static PROGRAM: Program = Program {
    reference: "hf-python",
    variable: "TLBENCH_PYTHON",
    libraries: &[
        Library {
            module: "torch",
            package: "torch",
            oldest: None,
        },
        // The first in which every family, GPT-2 included, takes its mask from the attention interface. Before that a
        // model's own attention adds the causal mask, and one that is put in its place is silently not causal.
        Library {
            module: "transformers",
            package: "transformers",
            oldest: Some("4.54.1"),
        },
    ],
    modules: tlbench_python_worker::modules![
        "altered",
        "asking",
        "attention",
        "cached",
        "checks",
        "loading",
        "main",
        "norms",
        "operations",
        "parameters",
        "plain",
        "record",
        "routers",
        "scoped",
        "taps",
    ],
};
