//! What the adapter makes of a config, held against HF's `GPTNeoXForCausalLM`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../../src/adapter.rs"]
mod adapter;
#[path = "../../../held.rs"]
mod held;

use serde_json::json;

use adapter::GptNeox;

const FIXTURES: [(&str, &str); 2] = [("parallel", ""), ("sequential", "gpt_neox.embed_in.weight")];

#[test]
fn every_key_that_hf_writes_is_known() {
    for (name, _) in FIXTURES {
        held::assert_keys_known(&GptNeox, name);
    }
}

#[test]
fn every_element_that_hf_writes_is_taken_once_and_a_tied_embedding_twice() {
    for (name, twice) in FIXTURES {
        let spec = held::spec(&GptNeox, held::config(name));
        held::assert_taken_once(&spec, &held::tensors(name), twice);
    }
}

#[test]
fn the_old_spelling_of_rotary_keys_means_the_same() {
    let old = json!({"rotary_pct": 0.25, "rotary_emb_base": 10_000});
    let old = held::respelled("parallel", &["rope_parameters"], old);
    let new = held::config("parallel");
    assert_eq!(held::spec(&GptNeox, old), held::spec(&GptNeox, new));
}

#[test]
fn positions_that_stretch_have_no_longest_sequence() {
    let dynamic = json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}});
    assert_eq!(held::spec(&GptNeox, dynamic).n_ctx, None);
    assert_eq!(held::spec(&GptNeox, json!({})).n_ctx, Some(2048));
}

#[test]
fn fixtures_as_hooks() {
    for (name, _) in FIXTURES {
        let spec = held::spec(&GptNeox, held::config(name));
        insta::assert_snapshot!(format!("{name}_as_hooks"), held::hook_lines(&spec));
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_key_expected_and_found() {
    insta::assert_snapshot!(held::refusals(
        &GptNeox,
        [
            json!({"hidden_size": 30, "num_attention_heads": 4}),
            json!({"hidden_act": "gelu_10"}),
            json!({"use_parallel_residual": 1}),
            json!({"rope_parameters": {"rope_type": "su"}}),
            json!({"rotary_pct": 0.01}),
        ]
    ));
}
