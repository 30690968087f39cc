//! What is asked, and where nothing is.

use tlbench_sdk::{Benchmark, Mode, ModelInfo, Processing, Quantity, Tier, check_plan};

use super::model::model;
use crate::finite::NoNanInf;
use crate::magnitudes::WeightMagnitudes;
use crate::modification::WeightModification;
use crate::sharing::WeightSharing;
use crate::step::{LAYER_NORM_FOLDING, UNEMBED_CENTERING};
use crate::untouched::RawUntouched;
use crate::weight_processing::WeightProcessing;

fn refusal(benchmark: &dyn Benchmark, model: &ModelInfo) -> String {
    let error = benchmark.plan(model).unwrap_err();
    format!("{}: {error}", error.kind)
}

fn variants(benchmark: &dyn Benchmark, model: &ModelInfo) -> Vec<String> {
    let checks = benchmark.plan(model).unwrap();
    check_plan(&checks).unwrap();
    checks.into_iter().map(|check| check.variant).collect()
}

#[test]
fn every_combination_of_steps_is_a_check() {
    let found = variants(&WeightProcessing, &model(Mode::Compat));
    assert_eq!(found.len(), 15);
    assert_eq!(
        found[..5],
        ["ln", "writing", "unembed", "values", "ln.writing"]
    );
    assert_eq!(found[14], "ln.writing.unembed.values");
}

#[test]
fn a_large_model_gets_each_step_alone_and_all_together() {
    let mut model = model(Mode::Compat);
    model.options.insert("exhaustive_up_to".into(), 0.into());
    let found = variants(&WeightProcessing, &model);
    assert_eq!(
        found,
        [
            "ln",
            "writing",
            "unembed",
            "values",
            "ln.writing.unembed.values"
        ]
    );
}

#[test]
fn hooks_and_logits_are_asked_for_with_the_steps_of_the_check() {
    let checks = WeightProcessing.plan(&model(Mode::Compat)).unwrap();
    for planned in &checks[1].requests {
        assert_eq!(
            planned.request.processing.to_string(),
            "center_writing_weights"
        );
        let capture = &planned.request.capture;
        assert!(capture.contains(&Quantity::Logits) && !capture.contains(&Quantity::Loss));
    }
}

#[test]
fn processed_weights_are_judged_in_compatibility_mode() {
    let raw = model(Mode::Raw);
    for benchmark in [
        &WeightProcessing as &dyn Benchmark,
        &LAYER_NORM_FOLDING,
        &WeightMagnitudes,
        &RawUntouched,
    ] {
        assert_eq!(
            refusal(benchmark, &raw),
            "unsupported: it is about processed weights: compatibility mode judges them"
        );
    }
    assert_eq!(variants(&NoNanInf, &raw), ["raw"]);
}

#[test]
fn a_step_that_the_architecture_does_not_admit_is_refused_with_the_reason() {
    let mut model = model(Mode::Compat);
    model.spec.unembed.softcap = Some(30.0);
    model.processing = Processing::compat(&model.spec);
    assert_eq!(
        refusal(&UNEMBED_CENTERING, &model),
        "unsupported: center_unembed: the logits are capped at 30, so a constant on all of them changes their differences"
    );
    assert_eq!(variants(&WeightProcessing, &model).len(), 7);
}

#[test]
fn weights_are_shared_with_references_that_take_edits() {
    let mut model = model(Mode::Compat);
    assert_eq!(variants(&WeightSharing, &model), ["text"]);
    model.tier = Tier::HuggingFace;
    assert_eq!(
        refusal(&WeightSharing, &model),
        "unsupported: HuggingFace is not asked about edited weights: HookedTransformer is"
    );
    model.tier = Tier::BridgeAlone;
    assert!(
        refusal(&WeightSharing, &model).starts_with("unsupported: the truth for processed weights")
    );
}

#[test]
fn a_tied_embedding_is_edited_where_weights_are_as_stored() {
    assert_eq!(
        variants(&WeightModification, &model(Mode::Raw)),
        ["first_head", "tied_embedding"]
    );
    assert_eq!(
        variants(&WeightModification, &model(Mode::Compat)),
        ["first_head"]
    );
    let mut untied = model(Mode::Raw);
    untied.spec.unembed.projection.weight.names = vec!["lm_head".into()];
    assert_eq!(variants(&WeightModification, &untied), ["first_head"]);
}

#[test]
fn options_that_nobody_knows_are_refused() {
    let mut model = model(Mode::Compat);
    model.options.insert("exhaustive".into(), 1.into());
    for benchmark in [
        &WeightProcessing as &dyn Benchmark,
        &LAYER_NORM_FOLDING,
        &NoNanInf,
        &WeightMagnitudes,
        &WeightModification,
        &WeightSharing,
        &RawUntouched,
    ] {
        let error = benchmark.plan(&model).unwrap_err();
        assert!(
            error.message.contains("unknown key `exhaustive`"),
            "{error}"
        );
    }
}

/// A model whose embedding and unembedding are each more than what is looked at together.
fn with_a_large_vocabulary(mode: Mode) -> ModelInfo {
    let mut model = model(mode);
    let vocabulary = (17 << 20) / model.spec.d_model;
    model.spec.d_vocab = vocabulary;
    model.spec.embedding.tokens.shape[0] = vocabulary;
    model.spec.unembed.projection.weight.shape[0] = vocabulary;
    model.spec.unembed.d_vocab_out = vocabulary;
    model
}

#[test]
fn weights_that_are_too_many_to_hold_are_looked_at_in_parts() {
    for (mode, steps) in [
        (Mode::Raw, "raw"),
        (Mode::Compat, "ln.writing.unembed.values"),
    ] {
        let model = with_a_large_vocabulary(mode);
        let checks = NoNanInf.plan(&model).unwrap();
        let found: Vec<&str> = checks.iter().map(|check| check.variant.as_str()).collect();
        let expected = [1, 2, 3, 4].map(|part| format!("{steps}.part_{part}"));
        assert_eq!(found, expected);
        let asked = checks
            .iter()
            .flat_map(|check| &check.requests[0].request.capture);
        let asked: Vec<&Quantity> = asked.collect();
        for weight in model.spec.weights() {
            assert!(asked.contains(&&Quantity::Weight(weight.name)));
        }
    }
}

#[test]
fn a_bias_is_looked_at_beside_the_map_that_it_came_through() {
    let checks = UNEMBED_CENTERING.plan(&with_a_large_vocabulary(Mode::Compat));
    let asked = |check: &tlbench_sdk::Check| check.requests[1].request.capture.clone();
    let found: Vec<Vec<Quantity>> = checks.unwrap().iter().map(asked).collect();
    let [head, bias] = ["unembed.W_U", "unembed.b_U"].map(|name| Quantity::Weight(name.to_owned()));
    assert_eq!(found, [vec![head.clone()], vec![head, bias]]);
}
