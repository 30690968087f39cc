//! Adapters that misread a config or leave a tensor, judged by the recordings of real HuggingFace before any product.

use crate::support::built::{plugin, test_plugin};
use crate::support::cli_test::{CliTest, Run};
use crate::support::repository;

/// A mistake, the checkpoint that shows it, and the benchmark that has to see it.
const FAULTS: [(&str, &str, &str); 10] = [
    (
        "llama-other-theta",
        "llama/fixtures/tiny",
        "rotary_frequencies",
    ),
    (
        "llama-interleaved",
        "llama/fixtures/tiny",
        "rotary_frequencies",
    ),
    (
        "llama-unstretched",
        "llama/fixtures/yarn",
        "rotary_frequencies",
    ),
    (
        "llama-scaling-ignored",
        "llama/fixtures/linear",
        "rotary_frequencies",
    ),
    (
        "qwen2-other-theta",
        "llama/fixtures/qwen2",
        "rotary_frequencies",
    ),
    (
        "qwen3-other-theta",
        "llama/fixtures/qwen3",
        "rotary_frequencies",
    ),
    (
        "bloom-geometric-slopes",
        "bloom/fixtures/five_heads",
        "alibi_slopes",
    ),
    (
        "mistral-wider-window",
        "llama/fixtures/mistral",
        "mask_rows",
    ),
    (
        "llama-without-mlp-biases",
        "llama/fixtures/biased",
        "checkpoint_coverage",
    ),
    (
        "gpt2-blind-to-scale",
        "gpt2/fixtures/tiny",
        "config_coverage",
    ),
];

fn judged(architecture: &str, checkpoint: &str) -> Run {
    let test = CliTest::without_plugins()
        .plugin(plugin("tlbench_coverage"))
        .plugin(plugin("tlbench_hf_recorded"))
        .plugin(test_plugin("faulty_families"));
    let path = repository().join("architectures").join(checkpoint);
    let path = path.display();
    let config = format!("[[models]]\npath = '{path}'\narchitecture = '{architecture}'\n");
    test.write("tlbench.toml", config);
    test.run(["--format", "json", "--quiet"])
}

#[test]
fn each_mistake_is_told_before_anything_is_multiplied() {
    let mut table = Vec::new();
    for (fault, checkpoint, benchmark) in FAULTS {
        let run = judged(fault, checkpoint).exits(100);
        let checks = run.events("check_finished");
        let red: Vec<_> = checks
            .iter()
            .filter(|check| check["severity"] == "danger")
            .collect();
        assert!(!red.is_empty(), "{fault}");
        for check in &red {
            assert_eq!(check["check"]["benchmark"], benchmark, "{fault}: {check}");
        }
        table.push(format!("{fault}: {}", red[0]["message"].as_str().unwrap()));
    }
    insta::assert_snapshot!(table.join("\n"));
}
