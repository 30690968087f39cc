//! Mistakes of ports, each an adapter that is wrong in one place, judged by the recording of real HuggingFace.

use std::path::Path;

use serde_json::Value;

use crate::support::built::{plugin, test_plugin};
use crate::support::cli_test::{CliTest, Run};
use crate::support::fixture;

/// A mistake, and the first hook at which it shows.
pub(crate) const FAULTS: [(&str, &str); 12] = [
    ("gpt2-eps", "hook:blocks.0.ln1.hook_scale"),
    ("gpt2-exact-gelu", "hook:blocks.0.mlp.hook_post"),
    ("gpt2-dropped-bias", "hook:blocks.1.hook_mlp_out"),
    ("gpt2-transposed-weight", "hook:blocks.0.hook_attn_out"),
    ("gpt2-shifted-positions", "hook:hook_pos_embed"),
    (
        "gpt2-unscaled-attention",
        "hook:blocks.0.attn.hook_attn_scores",
    ),
    ("gpt2-shifted-mask", "hook:blocks.0.attn.hook_attn_scores"),
    ("gpt2-swapped-q-and-k", "hook:blocks.0.attn.hook_q"),
    ("gpt2-interleaved-heads", "hook:blocks.0.attn.hook_q"),
    ("gpt2-dropped-final-norm", "hook:ln_final.hook_scale"),
    ("gpt2-weak-eps", "hook:blocks.0.ln1.hook_scale"),
    ("gpt2-weak-bias", "hook:blocks.1.hook_attn_out"),
];

/// A run of the shipped checkpoint through the adapter `architecture`.
fn judged(architecture: &str, arguments: &[&str]) -> (CliTest, Run) {
    let test = ["tlbench_forward_pass", "tlbench_hf_recorded"]
        .iter()
        .fold(CliTest::without_plugins(), |test, name| {
            test.plugin(plugin(name))
        })
        .plugin(test_plugin("faulty_gpt2"));
    test.write("tlbench.toml", config(&fixture(""), architecture));
    let run = test.run(arguments.iter().chain(&["--quiet"]));
    (test, run)
}

fn config(folder: &Path, architecture: &str) -> String {
    let path = folder.display();
    format!("[[models]]\npath = '{path}'\narchitecture = '{architecture}'\n")
}

/// What `forward_pass` found on the input that every hook is recorded for.
fn first_divergence(run: &Run) -> Value {
    let is_on_text = |event: &&Value| {
        event["check"]["benchmark"] == "forward_pass" && event["check"]["variant"] == "text"
    };
    let checks = run.events("check_finished");
    checks.iter().find(is_on_text).expect("a check of the text")["first_divergence"].clone()
}

/// A ratio as the power of ten that it reaches: that much is the same on every machine.
fn magnitude(ratio: &Value) -> String {
    match ratio.as_f64() {
        Some(ratio) => format!("10^{:.0}", ratio.log10().floor()),
        None => ratio.as_str().unwrap_or("nothing").to_owned(),
    }
}

#[test]
fn without_a_mistake_everything_passes() {
    judged("gpt2-no-fault", &[]).1.exits(0);
}

#[test]
fn each_mistake_fails_at_the_hook_that_it_is_made_at() {
    let mut table = Vec::new();
    for (fault, hook) in FAULTS {
        let run = judged(fault, &["--format", "json"]).1.exits(100);
        let found = first_divergence(&run);
        assert_eq!(found["quantity"], hook, "{fault}");
        table.push(format!(
            "{fault:<24} {:<36} {:<10} {}",
            found["quantity"].as_str().unwrap_or_default(),
            found["evaluation"].as_str().unwrap_or_default(),
            magnitude(&found["ratio"])
        ));
    }
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn a_weak_mistake_is_told_locally_where_it_is_made() {
    for fault in ["gpt2-weak-eps", "gpt2-weak-bias"] {
        let run = judged(fault, &["--format", "json"]).1.exits(100);
        assert_eq!(first_divergence(&run)["evaluation"], "local", "{fault}");
    }
}

/// The mistakes that are smaller than what bf16 rounds away.
const HIDDEN_BY_BF16: [&str; 4] = [
    "gpt2-eps",
    "gpt2-exact-gelu",
    "gpt2-weak-eps",
    "gpt2-weak-bias",
];

#[test]
fn bf16_shows_the_same_hook_for_a_strong_mistake_and_hides_a_weak_one() {
    for (fault, hook) in FAULTS {
        let run = judged(fault, &["--dtype", "bf16", "--format", "json"]).1;
        if HIDDEN_BY_BF16.contains(&fault) {
            run.exits(0);
        } else {
            let found = first_divergence(&run.exits(100));
            assert_eq!(found["quantity"], hook, "{fault}");
        }
    }
}

#[test]
fn the_headline_names_hook_component_config_keys_and_tensors() {
    let (_test, run) = judged("gpt2-transposed-weight", &["--benchmark", "forward_pass"]);
    let mut settings = insta::Settings::clone_current();
    // An element that barely meets the tolerance may not do so elsewhere.
    settings.add_filter(r"\d+ of (\d+) outside", "[COUNT] of $1 outside");
    settings.bind(|| insta::assert_snapshot!(run));
}

/// The same spec drives it, so a mistake of the adapter is in both: it verifies the engine, and not the adapter.
#[test]
fn a_second_implementation_of_the_same_spec_sees_no_mistake_of_the_adapter() {
    let test = ["tlbench_forward_pass", "tlbench_hooked_transformer"]
        .iter()
        .fold(CliTest::without_plugins(), |test, name| {
            test.plugin(plugin(name))
        })
        .plugin(test_plugin("faulty_gpt2"));
    // That one leaves the last position without a row, which neither can look up.
    let runs = |(fault, _): &&(&str, &str)| *fault != "gpt2-shifted-positions";
    let faults = FAULTS.iter().filter(runs);
    for (fault, _) in faults.chain(&[("gpt2-no-fault", "")]) {
        test.write("tlbench.toml", config(&fixture(""), fault));
        let arguments = ["--no-hf-reference", "--format", "json", "--quiet"];
        let run = test.run(arguments).exits(0);
        assert_eq!(
            run.events("reference_opened")[0]["tier"],
            "hooked_transformer",
            "{fault}"
        );
    }
}
