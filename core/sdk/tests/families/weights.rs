//! Canonical weights, and which processing a family admits.

use tlbench_sdk::spec::CanonicalWeight;
use tlbench_sdk::{ModelSpec, Processing, ProcessingStep, Tensor};

use crate::{families, llama};

#[test]
fn weights_by_canonical_name_and_shape() {
    for (name, spec) in families() {
        let lines = spec
            .weights()
            .into_iter()
            .map(|CanonicalWeight { name, source }| {
                format!(
                    "{name} {:?} of {}",
                    source.cut_shape().unwrap(),
                    source.names.join(" or ")
                )
            });
        let lines: Vec<String> = lines.collect();
        insta::assert_snapshot!(format!("{name}_as_weights"), lines.join("\n"));
    }
}

#[test]
fn which_steps_a_family_admits() {
    let lines = families().into_iter().flat_map(|(name, spec)| {
        ProcessingStep::ALL.map(|step| {
            let answer = step.refusal(&spec).unwrap_or_else(|| "admitted".into());
            format!("{name}: {step}: {answer}")
        })
    });
    let lines: Vec<String> = lines.collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_bias_of_values_that_folding_makes_can_be_folded_further() {
    let mut spec = crate::gpt_neox::spec();
    for layer in &mut spec.layers {
        layer.attn.as_mut().unwrap().body.v.bias = None;
    }
    assert_eq!(ProcessingStep::FoldValueBiases.refusal(&spec), None);
    spec.layers[1].attn.as_mut().unwrap().body.clip_qkv = Some(8.0);
    insta::assert_snapshot!(
        ProcessingStep::FoldValueBiases.refusal(&spec).unwrap(),
        @"blocks.1.attn clips its values, bias included"
    );
}

#[test]
fn an_embedding_behind_an_rms_norm_is_not_centred() {
    let mut spec = crate::bloom::spec();
    spec.embedding.norm.as_mut().unwrap().kind = tlbench_sdk::spec::NormKind::RmsNorm;
    insta::assert_snapshot!(
        ProcessingStep::CenterWritingWeights.refusal(&spec).unwrap(),
        @"embed goes through an RMS norm, which sees its mean"
    );
}

#[test]
fn compatibility_mode_is_all_that_is_admitted() {
    assert_eq!(
        Processing::compat(&llama::spec()).to_string(),
        "fold_ln + center_unembed"
    );
}

#[test]
fn a_weight_has_one_name_and_is_there_or_absent() {
    for (family, spec) in families() {
        let mut names: Vec<String> = spec
            .weights()
            .into_iter()
            .map(|weight| weight.name)
            .collect();
        names.extend(spec.absent_weights().into_iter().map(|weight| weight.name));
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{family}");
    }
}

/// Every weight that there is or could be, from a tensor in canonical layout.
fn all_canonical(spec: &ModelSpec) -> ModelSpec {
    let mut canonical = spec.clone();
    let names = spec.weights().into_iter().map(|weight| weight.name);
    for name in names.chain(spec.absent_weights().into_iter().map(|weight| weight.name)) {
        assert!(canonical.take_canonical(&name), "{name}");
    }
    canonical
}

#[test]
fn a_tensor_in_canonical_layout_is_the_weight_itself() {
    for (family, spec) in families() {
        let canonical = all_canonical(&spec);
        assert_eq!(canonical.check(), Ok(()), "{family}");
        assert_eq!(canonical.absent_weights(), []);
        for CanonicalWeight { name, source } in canonical.weights() {
            assert_eq!(source.names, [name.as_str()], "{family}");
            let count = source.shape.iter().product();
            let values = (0_i64..).take(count).collect();
            let stored = Tensor::from_vec(values, &source.shape).unwrap();
            let mut cuts = source.cut.iter();
            let weight = cuts.try_fold(stored.clone(), |whole, cut| cut.apply(&whole));
            assert_eq!(weight.unwrap(), stored, "{family}: {name}");
        }
    }
}

#[test]
fn a_renamed_weight_is_stored_and_cut_as_it_was() {
    for (family, spec) in families() {
        let mut renamed = spec.clone();
        let before = renamed.rename_weights();
        assert_eq!(before.len(), spec.weights().len(), "{family}");
        for (weight, was) in renamed.weights().iter().zip(spec.weights()) {
            assert_eq!(weight.source.names, [weight.name.as_str()]);
            assert_eq!(weight.source.cut, was.source.cut, "{family}: {}", was.name);
        }
    }
}

#[test]
fn a_weight_that_no_component_could_have_is_not_taken() {
    assert!(!llama::spec().take_canonical("blocks.0.attn.W_X"));
    assert!(!llama::spec().take_canonical("pos_embed.W_pos"));
}
