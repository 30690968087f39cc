//! Keys and tensors that are left.

use insta::assert_snapshot;
use serde_json::Value;
use tlbench_sdk::{Benchmark, Judgement, ModelInfo, Severity, Usage, Verdict};

use super::model::{line, model, only_check};
use crate::checkpoint_coverage::CheckpointCoverage;
use crate::config_coverage::ConfigCoverage;
use crate::hf_keys::read_by;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn verdict(benchmark: &dyn Benchmark, model: &ModelInfo) -> Verdict {
    let check = only_check(benchmark, model);
    match benchmark.judge(model, &check, &[]).unwrap() {
        Judgement::Verdict(verdict) => verdict,
        Judgement::More(_) => panic!("asks for more"),
    }
}

fn with_keys(class: &str, left: &[&str]) -> Verdict {
    let mut model = model(Value::Null);
    model.spec.architecture = class.to_owned();
    model.usage = Usage {
        keys_read: names(&["hidden_size", "vocab_size"]),
        keys_not_read: names(left),
        ..Usage::default()
    };
    verdict(&ConfigCoverage, &model)
}

#[test]
fn a_key_that_is_left_fails_where_hf_reads_it_and_is_worth_a_word_elsewhere() {
    let lines = [
        with_keys("LlamaForCausalLM", &[]),
        with_keys("LlamaForCausalLM", &["mlp_bias", "note", "rope_scaling"]),
        with_keys("LlamaForCausalLM", &["sliding_window"]),
        with_keys("MistralForCausalLM", &["sliding_window"]),
        with_keys("OwnForCausalLM", &["sliding_window"]),
        with_keys("OwnForCausalLM", &["a", "b", "c", "d", "e", "f", "g"]),
    ]
    .map(|verdict| line(Ok(verdict)));
    assert_snapshot!(lines.join("\n"), @r"
    INFO: no key is left: 2 were read, the others change nothing
    DANGER: not read, though LlamaForCausalLM of HF reads it: mlp_bias, rope_scaling
    WARNING: not read, nor does LlamaForCausalLM of HF read it: sliding_window
    DANGER: not read, though MistralForCausalLM of HF reads it: sliding_window
    WARNING: not read, and it is not known whether OwnForCausalLM of HF reads it: sliding_window
    WARNING: not read, and it is not known whether OwnForCausalLM of HF reads it: a, b, c, d, e and 2 more
    ");
}

#[test]
fn every_key_that_is_left_is_a_detail() {
    let verdict = with_keys("OwnForCausalLM", &["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(verdict.details.len(), 7);
}

#[test]
fn the_table_knows_both_spellings_of_a_key_and_none_of_training() {
    let gpt2: Vec<&str> = read_by("GPT2LMHeadModel").unwrap().collect();
    for key in [
        "n_embd",
        "hidden_size",
        "scale_attn_by_inverse_layer_idx",
        "tie_word_embeddings",
    ] {
        assert!(gpt2.contains(&key), "{key}");
    }
    for key in ["attn_pdrop", "summary_type", "use_cache"] {
        assert!(!gpt2.contains(&key), "{key}");
    }
    assert!(read_by("GPT2LMHead").is_none());
}

#[test]
fn a_tensor_that_is_left_fails() {
    let mut model = model(Value::Null);
    model.usage.tensors_taken = names(&["wte", "h.0.mlp.weight"]);
    let nothing_left = verdict(&CheckpointCoverage, &model);
    model.usage.tensors_not_taken = names(&["h.0.mlp.bias"]);
    let one_left = verdict(&CheckpointCoverage, &model);
    assert_eq!(one_left.severity, Severity::Danger);
    let lines = [nothing_left, one_left].map(|verdict| line(Ok(verdict)));
    assert_snapshot!(lines.join("\n"), @r"
    INFO: no tensor is left: 2 are taken by the spec
    DANGER: 1 of 3 tensors are not taken: h.0.mlp.bias
    ");
}
