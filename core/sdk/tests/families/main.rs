//! Families beyond GPT-2, written as specs by hand: what the types can say of them.
//!
//! Sizes are small and unequal; everything else is as HF's classes have it.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are tests"
)]

mod bloom;
mod check;
mod gemma2;
mod gpt_neox;
mod llama;
mod mapped;
mod mixtral;
mod nonsense;
mod text;
mod weights;

use tlbench_sdk::{ModelSpec, hooks};

fn families() -> [(&'static str, ModelSpec); 5] {
    [
        ("bloom", bloom::spec()),
        ("gemma2", gemma2::spec()),
        ("gpt_neox", gpt_neox::spec()),
        ("llama", llama::spec()),
        ("mixtral", mixtral::spec()),
    ]
}

#[test]
fn as_data() {
    for (name, spec) in families() {
        insta::assert_snapshot!(format!("{name}_as_data"), text::compact_json(&spec));
    }
}

#[test]
fn as_hooks() {
    for (name, spec) in families() {
        let lines: Vec<String> = hooks(&spec).iter().map(text::hook_line).collect();
        insta::assert_snapshot!(format!("{name}_as_hooks"), lines.join("\n"));
    }
}

#[test]
fn nothing_is_lost_on_the_way_through_json() {
    for (name, spec) in families() {
        let text = serde_json::to_string(&spec).unwrap();
        let back: ModelSpec = serde_json::from_str(&text).unwrap();
        assert_eq!(back, spec, "{name}");
    }
}

#[test]
fn a_key_that_this_version_does_not_know_is_refused() {
    let mut value = serde_json::to_value(llama::spec()).unwrap();
    value["layers"][0]["attn"]["body"]["dilation"] = 2.into();
    let error = serde_json::from_value::<ModelSpec>(value).unwrap_err();
    assert!(error.to_string().starts_with("unknown field `dilation`"));
}

#[test]
fn every_spec_can_be_that_of_a_model() {
    for (name, spec) in families() {
        assert_eq!(spec.check(), Ok(()), "{name}");
    }
}

#[test]
fn every_element_is_taken_once_and_a_tied_embedding_twice() {
    for (name, spec) in families() {
        check::taken_once(name, &spec);
    }
}

#[test]
fn every_hook_has_a_name_of_its_own_and_its_place() {
    for (name, spec) in families() {
        let points = hooks(&spec);
        let names: std::collections::BTreeSet<&str> =
            points.iter().map(|point| point.name.as_str()).collect();
        assert_eq!(names.len(), points.len(), "{name}");
        assert!(points.iter().map(|point| point.order).eq(0..points.len()));
    }
}
