//! What the spec makes of the identities.

use serde_json::{Value, json as of};
use tlbench_sdk::{Processing, ProcessingStep};

use super::model::{json, norm, spec};
use crate::identities::Identities;

/// The identities of a spec that `edit` made of GPT-2's kind, and what is left out.
fn identities(edit: impl Fn(&mut Value)) -> (Vec<String>, Vec<String>) {
    let mut json = json();
    edit(&mut json);
    let Identities { list, left_out } = Identities::of(&spec(json), &Processing::raw());
    (
        list.iter().map(ToString::to_string).collect(),
        left_out
            .iter()
            .map(|out| format!("{}: {}", out.what, out.why))
            .collect(),
    )
}

fn has(identities: &[String], wanted: &str) -> bool {
    identities.iter().any(|identity| identity == wanted)
}

#[test]
fn parallel_branches_read_and_join_the_same_stream() {
    let (list, left_out) = identities(|json| json["layers"][0]["wiring"] = "parallel".into());
    assert!(has(
        &list,
        "blocks.0.hook_resid_post = blocks.0.hook_resid_pre + blocks.0.hook_attn_out + blocks.0.hook_mlp_out"
    ));
    assert!(has(
        &list,
        "blocks.0.ln2.hook_normalized * blocks.0.ln2.hook_scale = blocks.0.hook_resid_pre - mean"
    ));
    assert!(
        !list
            .iter()
            .any(|identity| identity.contains("blocks.0.hook_resid_mid"))
    );
    assert!(left_out.is_empty());
}

#[test]
fn what_joins_the_stream_may_be_scaled() {
    let (list, _) = identities(|json| json["layers"][0]["mlp"]["output_scale"] = 0.22.into());
    assert!(has(
        &list,
        "blocks.0.hook_resid_post = blocks.0.hook_resid_mid + 0.22 * blocks.0.hook_mlp_out"
    ));
}

#[test]
fn rms_norms_keep_the_mean_and_need_no_bias() {
    let (list, _) = identities(|json| {
        json["final_norm"]["kind"] = "rms_norm".into();
        json["final_norm"]["bias"] = Value::Null;
    });
    assert!(has(
        &list,
        "ln_final.hook_normalized * ln_final.hook_scale = blocks.1.hook_resid_post"
    ));
    assert!(has(
        &list,
        "unembed.hook_in = ln_final.hook_normalized * ln_final.w"
    ));
}

#[test]
fn what_cannot_be_said_is_left_out_with_the_reason() {
    let (_, left_out) = identities(|json| {
        json["layers"][0]["attn"]["output_norm"] = norm("post");
        json["layers"][0]["attn"]["body"]["sinks"] = of!({ "names": ["sinks"], "shape": [2] });
        json["layers"][1]["mlp"]["residual"] = "input".into();
        json["layers"][1]["attn"]["sum_norm"] = norm("sum");
    });
    assert_eq!(
        left_out,
        [
            "blocks.0.attn.hook_pattern: a sink takes its share of each row",
            "blocks.0.hook_attn_out: a norm stands between the heads and it",
            "blocks.1.hook_resid_mid: the sum goes through a norm",
            "blocks.1.hook_resid_post: the output is added to what the norm gives, which no hook shows",
            "blocks.1.hook_resid_post as the sum of all branches: some branch is not simply added",
        ]
    );
}

#[test]
fn without_positions_or_a_final_norm_values_are_copies() {
    let (list, left_out) = identities(|json| {
        json["embedding"]["positions"] = Value::Null;
        json["final_norm"] = Value::Null;
    });
    assert!(has(&list, "blocks.0.hook_resid_pre = hook_embed"));
    assert!(has(&list, "unembed.hook_in = blocks.1.hook_resid_post"));
    assert!(left_out.is_empty());
}

#[test]
fn folding_can_make_the_bias_of_an_output() {
    let mut json = json();
    json["layers"][0]["attn"]["body"]["o"]["bias"] = Value::Null;
    let spec = spec(json);
    let bias_of = |steps: &[ProcessingStep]| {
        let processing = steps.iter().copied().collect();
        let list = Identities::of(&spec, &processing).list;
        let out = list
            .iter()
            .find(|identity| identity.hook == "blocks.0.hook_attn_out");
        out.unwrap().to_string().ends_with("blocks.0.attn.b_O")
    };
    assert!(!bias_of(&[]));
    assert!(!bias_of(&[ProcessingStep::FoldLn]));
    assert!(bias_of(&[ProcessingStep::FoldValueBiases]));
}
