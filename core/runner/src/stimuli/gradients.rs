//! Questions about gradients.

use tlbench_sdk::{
    GradientRequest, HookPoint, Objective, Padding, PluginError, Quantity, Stimulus, short_name,
};

use super::Material;
use super::plain::batch_rows;

/// Of the weights of the projection.
const SEED: u64 = 0;

/// A projection of the logits, by which everything is differentiated; the loss, a difference of two logits and a padded
/// batch, by which the ends of the stream are.
pub(super) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    let text = material.fitting_text();
    let rows = [text.to_vec()];
    let batch = batch_rows(text, material.context());
    let everything = || {
        let hooks = material.hooks.iter().filter(|hook| hook.gate.is_none());
        let hooks = hooks.map(|hook| Quantity::HookGradient(hook.name.clone()));
        let parameters = material.parameters.iter();
        hooks.chain(parameters.map(|parameter| Quantity::ParameterGradient(parameter.name.clone())))
    };
    let thin = || {
        let hooks = material.hooks.iter().filter(is_on_the_stream);
        hooks.map(|hook| Quantity::HookGradient(hook.name.clone()))
    };
    let of = |id, rows: &[Vec<i64>], padding, objective, capture: Vec<Quantity>| {
        let mut stimulus = Stimulus::from_rows(id, rows, padding, material.pad_token)?;
        stimulus.request.gradients = Some(GradientRequest { objective });
        Ok::<_, PluginError>(stimulus.showing(capture))
    };
    let projection = || Objective::Projection { seed: SEED };
    let difference = Objective::LogitDifference {
        position: text.len() - 1,
        token: 0,
        minus: material.spec.unembed.d_vocab_out.saturating_sub(1).min(1),
    };
    let right = Padding::Right;
    let mut list = vec![
        of(
            "text_projection",
            &rows,
            right,
            projection(),
            everything().collect(),
        )?,
        of(
            "text_logit_difference",
            &rows,
            right,
            difference,
            thin().collect(),
        )?,
        of(
            "left_padded_projection",
            &batch,
            Padding::Left,
            projection(),
            thin().collect(),
        )?,
    ];
    if text.len() > 1 {
        list.push(of(
            "text_loss",
            &rows,
            right,
            Objective::Loss,
            thin().collect(),
        )?);
    }
    Ok(list)
}

fn is_on_the_stream(hook: &&HookPoint) -> bool {
    ["hook_embed", "hook_resid_post"].contains(&short_name(&hook.name))
}
