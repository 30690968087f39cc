//! What a cache has to hold, and what its values have to be.

use std::collections::BTreeSet;

use tlbench_sdk::{
    Benchmark, ErrorKind, ModelInfo, Padding, Parameter, Quantity, Severity, Stimulus, check_plan,
};

use super::model::{Activations, D_MODEL, judge, model};
use crate::activation_cache::ActivationCache;
use crate::residual_identities::ResidualIdentities;
use crate::run_with_cache::RunWithCache;

/// What is said when `fault` is made in the pass of this number, or in all.
fn complaint(pass: Option<usize>, fault: impl Fn(&mut Activations)) -> String {
    let model = model();
    let healthy = Activations::healthy(&model);
    let mut faulty = Activations::healthy(&model);
    fault(&mut faulty);
    let passes: Vec<&Activations> = (0..5)
        .map(|index| {
            if pass.is_none_or(|pass| pass == index) {
                &faulty
            } else {
                &healthy
            }
        })
        .collect();
    let verdict = judge(&RunWithCache, &model, &passes);
    let is_failure = verdict.severity == Severity::Danger;
    assert!(is_failure || verdict.severity == Severity::Info);
    assert_eq!(
        is_failure,
        !verdict.message.ends_with("show the same by parts")
    );
    verdict.message
}

#[test]
fn every_hook_is_looked_at_three_times_and_each_time_anew() {
    let model = model();
    let checks = RunWithCache.plan(&model).unwrap();
    check_plan(&checks).unwrap();
    let [whole, parts @ .., gated] = &checks[0].requests[..] else {
        panic!("no questions")
    };
    assert_eq!(parts.len(), 3);
    let of_parts = parts.iter().flat_map(|part| &part.request.capture);
    let of_parts: BTreeSet<&Quantity> = of_parts.collect();
    assert!(
        whole
            .request
            .capture
            .iter()
            .all(|quantity| of_parts.contains(quantity))
    );
    assert_eq!(gated.request.capture.len(), model.hooks.len());
    let repetitions: BTreeSet<u32> = checks[0].requests.iter().map(|p| p.repetition).collect();
    assert_eq!(repetitions.len(), 5, "merged questions would be one pass");
}

#[test]
fn of_a_large_model_the_padded_input_is_looked_at_alone() {
    let mut model = model();
    let hooks = model.stimuli[0].request.capture.clone();
    let text = Stimulus::from_rows("text", &[vec![1, 2, 3]], Padding::Right, 0).unwrap();
    model.stimuli.insert(0, text.showing(hooks));
    let planned = |model: &ModelInfo| {
        let checks = RunWithCache.plan(model).unwrap().into_iter();
        checks.map(|check| check.variant).collect::<Vec<_>>()
    };
    assert_eq!(planned(&model), ["text", "batch"]);
    model.parameters = vec![Parameter {
        name: "wte".into(),
        shape: vec![17, 1 << 20],
    }];
    assert_eq!(planned(&model), ["batch"]);
    model.stimuli.pop();
    assert_eq!(planned(&model), ["text"]);
}

#[test]
fn a_healthy_cache() {
    assert_eq!(
        complaint(None, |_| {}),
        "52 hooks fire (12 of them gated), and show the same by parts"
    );
}

#[test]
fn a_hook_that_does_not_fire() {
    let message = complaint(Some(4), |all| {
        all.0
            .values
            .remove(&Quantity::hook("blocks.1.attn.hook_result"));
    });
    assert_eq!(message, "blocks.1.attn.hook_result: not shown");
}

#[test]
fn a_hook_of_another_shape() {
    let message = complaint(None, |all| {
        let flat = all.get("blocks.0.attn.hook_z");
        all.set("blocks.0.attn.hook_z", flat, &[2, 5, 8]);
    });
    assert_eq!(
        message,
        "blocks.0.attn.hook_z: shape [2, 5, 8] where [batch, pos, n_heads=2, d_head=4] is [2, 5, 2, 4]"
    );
}

#[test]
fn nan_where_there_is_a_token() {
    let message = complaint(None, |all| {
        all.edit("blocks.0.mlp.hook_post", |index, value| {
            if index == 3 { f64::NAN } else { value }
        });
    });
    assert_eq!(
        message,
        "blocks.0.mlp.hook_post: 1 of 70 elements are not finite"
    );
}

#[test]
fn nan_where_there_is_padding() {
    let message = complaint(None, |all| {
        // The second row begins with padding.
        let first = 5 * D_MODEL;
        all.edit("blocks.0.hook_resid_mid", |index, value| {
            if index == first { f64::NAN } else { value }
        });
    });
    assert!(message.starts_with("52 hooks fire"), "{message}");
}

#[test]
fn a_score_that_is_masked_where_the_query_sees_the_key() {
    let message = complaint(None, |all| {
        all.edit("blocks.1.attn.hook_attn_scores", |index, value| {
            if index == 0 { f64::NEG_INFINITY } else { value }
        });
    });
    assert_eq!(
        message,
        "blocks.1.attn.hook_attn_scores: 1 of 100 elements are not finite"
    );
}

#[test]
fn a_value_that_changes_when_less_is_looked_at() {
    let message = complaint(Some(1), |all| {
        all.edit("hook_embed", |_, value| value * (1.0 + 1.2e-7));
    });
    assert_eq!(
        message,
        "hook_embed: looking at all hooks changes its value"
    );
}

#[test]
fn cached_values_are_compared_and_can_fail() {
    let model = model();
    let truth = Activations::healthy(&model);
    let same = judge(&ActivationCache, &model, &[&truth, &truth]);
    assert_eq!(same.severity, Severity::Info, "{}", same.message);
    let mut off = Activations::healthy(&model);
    off.edit("blocks.1.ln2.hook_scale", |_, value| value * 1.0001);
    let verdict = judge(&ActivationCache, &model, &[&truth, &off]);
    assert_eq!(verdict.severity, Severity::Danger);
    assert!(
        verdict
            .message
            .starts_with("first divergence at blocks.1.ln2.hook_scale: "),
        "{}",
        verdict.message
    );
}

#[test]
fn a_hook_that_only_the_reference_shows_is_a_failure() {
    let mut model = model();
    let truth = Activations::healthy(&model);
    model
        .hooks
        .retain(|hook| hook.name != "ln_final.hook_scale");
    let verdict = judge(&ActivationCache, &model, &[&truth, &truth]);
    assert_eq!(
        verdict.message,
        "first divergence at ln_final.hook_scale: the subject does not produce it"
    );
}

#[test]
fn a_reference_without_hooks_leaves_nothing_to_compare() {
    let mut model = model();
    model.stimuli[0].request.capture = vec![Quantity::Logits];
    let error = ActivationCache.plan(&model).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.message, "the reference shows a hook on no input");
}

#[test]
fn options_that_nobody_knows_are_refused() {
    let mut model = model();
    model.options.insert("atol".into(), 1.into());
    for benchmark in [
        &ActivationCache as &dyn Benchmark,
        &RunWithCache,
        &ResidualIdentities,
    ] {
        let error = benchmark.plan(&model).unwrap_err();
        assert!(error.message.contains("unknown key `atol`"), "{error}");
    }
}
