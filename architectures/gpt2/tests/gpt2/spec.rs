//! The whole of a small spec, and its hooks.

use serde_json::json;
use tlbench_sdk::hooks;

use crate::{held, spec};

fn small(layers: usize) -> serde_json::Value {
    json!({"vocab_size": 41, "n_positions": 17, "n_embd": 15, "n_head": 3, "n_layer": layers, "n_inner": 52})
}

#[test]
fn one_layer_as_data() {
    insta::assert_json_snapshot!(spec(small(1)));
}

#[test]
fn two_layers_as_hooks() {
    insta::assert_snapshot!(held::hook_lines(&spec(small(2))));
}

#[test]
fn gpt2_small_has_as_many_hooks_as_hookedtransformer_gives_it() {
    let points = hooks(&spec(json!({})));
    assert_eq!(points.len(), 282);
    assert_eq!(
        points.iter().filter(|point| point.gate.is_none()).count(),
        210
    );
}

#[test]
fn what_hf_shows_of_a_block() {
    // The rest follows from what is shown, or needs a copy that HF does not make.
    let hidden: Vec<String> = hooks(&spec(small(1)))
        .into_iter()
        .filter(|point| point.hf_tap.is_none())
        .map(|point| point.name)
        .collect();
    insta::assert_snapshot!(hidden.join("\n"), @"
    blocks.0.hook_attn_in
    blocks.0.hook_q_input
    blocks.0.hook_k_input
    blocks.0.hook_v_input
    blocks.0.attn.hook_result
    blocks.0.hook_mlp_in
    ");
}

#[test]
fn one_layer_as_weights() {
    let weights = spec(small(1)).weights().into_iter();
    let lines =
        weights.map(|weight| format!("{} {:?}", weight.name, weight.source.cut_shape().unwrap()));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}
