//! What does not add up, and where that shows first.

use tlbench_sdk::{DType, Quantity, Severity, Verdict};

use super::model::{Activations, D_MODEL, POS, judge, model};
use crate::residual_identities::ResidualIdentities;

fn verdict(fault: impl Fn(&mut Activations)) -> Verdict {
    let model = model();
    let mut activations = Activations::healthy(&model);
    fault(&mut activations);
    judge(&ResidualIdentities, &model, &[&activations])
}

/// Which identity fails first, when the values at `hook` are edited.
fn first_failure(hook: &str, edit: impl Fn(usize, f64) -> f64) -> String {
    let verdict = verdict(|all| all.edit(hook, &edit));
    assert_eq!(verdict.severity, Severity::Danger, "{}", verdict.message);
    let (identity, _) = verdict.message.split_once(" does not hold").unwrap();
    identity.to_owned()
}

#[test]
fn healthy_f32_stays_below_the_derived_floor() {
    let verdict = verdict(|_| {});
    assert_eq!(verdict.severity, Severity::Info, "{}", verdict.message);
    assert!(
        verdict
            .message
            .starts_with("17 identities hold; worst error ratio 0."),
        "{}",
        verdict.message
    );
    assert!(verdict.measurements.iter().all(|m| m.ratio < 1.0));
    assert!(verdict.details.is_empty());
}

#[test]
fn each_sum_is_checked_at_its_place() {
    for (hook, identity) in [
        (
            "hook_pos_embed",
            "blocks.0.hook_resid_pre = hook_embed + hook_pos_embed",
        ),
        (
            "blocks.1.hook_resid_pre",
            "blocks.1.hook_resid_pre = blocks.0.hook_resid_post",
        ),
        (
            "blocks.1.hook_mlp_out",
            "blocks.1.hook_resid_post = blocks.1.hook_resid_mid + blocks.1.hook_mlp_out",
        ),
        (
            "blocks.1.attn.hook_result",
            "blocks.1.hook_attn_out = sum over heads of blocks.1.attn.hook_result + blocks.1.attn.b_O",
        ),
        (
            "unembed.hook_in",
            "unembed.hook_in = ln_final.hook_normalized * ln_final.w + ln_final.b",
        ),
    ] {
        assert_eq!(first_failure(hook, |_, value| value * 1.001), identity);
    }
}

#[test]
fn an_output_that_holds_the_stream_already() {
    // Bloom's modules return the sum; a hook at their end shows too much.
    let verdict = verdict(|all| {
        let stream = all.get("blocks.0.hook_resid_mid");
        all.edit("blocks.0.hook_mlp_out", |index, value| {
            value + stream[index]
        });
    });
    assert!(
        verdict.message.starts_with("blocks.0.hook_resid_post = "),
        "{}",
        verdict.message
    );
}

#[test]
fn a_bias_that_attention_leaves_out() {
    let verdict = verdict(|all| {
        let name = Quantity::Weight("blocks.0.attn.b_O".into());
        let bias = all.0.value(&name).unwrap().to_f64_vec();
        all.edit("blocks.0.hook_attn_out", |index, value| {
            value - bias[index % D_MODEL]
        });
        all.sum(
            "blocks.0.hook_resid_mid",
            &["blocks.0.hook_resid_pre", "blocks.0.hook_attn_out"],
        );
    });
    assert!(
        verdict.message.starts_with("blocks.0.hook_attn_out = "),
        "{}",
        verdict.message
    );
}

#[test]
fn a_copy_has_to_be_equal() {
    let hook = "blocks.1.hook_resid_pre";
    let nudged = first_failure(hook, |i, value| {
        if i == 0 {
            value * (1.0 + 1.2e-7)
        } else {
            value
        }
    });
    assert_eq!(nudged, "blocks.1.hook_resid_pre = blocks.0.hook_resid_post");
}

#[test]
fn a_norm_whose_scale_is_not_what_it_divides_by() {
    let found = first_failure("blocks.0.ln2.hook_scale", |_, value| value * 2.0);
    assert_eq!(
        found,
        "blocks.0.ln2.hook_normalized * blocks.0.ln2.hook_scale = blocks.0.hook_resid_mid - mean"
    );
}

#[test]
fn a_norm_that_does_not_centre() {
    let verdict = verdict(|all| {
        let (stream, scale) = (
            all.get("blocks.0.hook_resid_pre"),
            all.get("blocks.0.ln1.hook_scale"),
        );
        all.edit("blocks.0.ln1.hook_normalized", |i, _| {
            stream[i] / scale[i / D_MODEL]
        });
    });
    assert!(
        verdict
            .message
            .starts_with("blocks.0.ln1.hook_normalized * "),
        "{}",
        verdict.message
    );
}

#[test]
fn a_pattern_whose_rows_do_not_sum_to_one() {
    let found = first_failure("blocks.1.attn.hook_pattern", |_, value| value * 1.0001);
    assert_eq!(found, "each row of blocks.1.attn.hook_pattern sums to 1");
}

#[test]
fn padding_is_not_looked_at() {
    // The second row begins with three positions of padding.
    let is_padding = |index: usize, width: usize| (POS * width..(POS + 3) * width).contains(&index);
    let verdict = verdict(|all| {
        all.edit("blocks.1.hook_mlp_out", |index, value| {
            if is_padding(index, D_MODEL) {
                f64::NAN
            } else {
                value
            }
        });
    });
    assert_eq!(verdict.severity, Severity::Info, "{}", verdict.message);
}

#[test]
fn nan_and_a_value_that_is_not_shown() {
    assert_eq!(
        first_failure("blocks.0.hook_resid_mid", |_, _| f64::NAN),
        "blocks.0.hook_resid_mid = blocks.0.hook_resid_pre + blocks.0.hook_attn_out"
    );
    let verdict = verdict(|all| {
        all.0
            .values
            .remove(&Quantity::hook("blocks.0.hook_resid_mid"));
    });
    assert_eq!(
        verdict.message,
        "blocks.0.hook_resid_mid = blocks.0.hook_resid_pre + blocks.0.hook_attn_out does not hold: the subject does \
         not show blocks.0.hook_resid_mid"
    );
}

#[test]
fn the_precision_on_trial_decides_what_rounding_is() {
    let mut model = model();
    let mut activations = Activations::healthy(&model);
    activations.edit("blocks.1.hook_resid_post", |_, value| value * (1.0 + 1e-4));
    let severity = |model: &_| judge(&ResidualIdentities, model, &[&activations]).severity;
    assert_eq!(severity(&model), Severity::Danger);
    model.dtype = DType::BF16;
    assert_eq!(severity(&model), Severity::Info);
}
