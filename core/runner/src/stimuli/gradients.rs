//! Gradients of scalars of the logits.

use tlbench_sdk::{
    GradientRequest, HookPoint, Objective, Padding, PluginError, Quantity, Stimulus, is_large,
    short_name,
};

use super::{BATCH_LENGTH, Material, batch_rows};

/// Of the weights of the projection.
const SEED: u64 = 0;

pub(super) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    let (text, pad) = (material.text, material.pad);
    let of_text = |id| Stimulus::from_rows(id, &[text.to_vec()], Padding::Right, pad);
    let batch = batch_rows(text, text.len().min(BATCH_LENGTH));
    let padded = |id| Stimulus::from_rows(id, &batch, Padding::Left, pad);
    let projection = Objective::Projection { seed: SEED };
    if is_large(material.parameters) {
        // What is differentiated is no matter of size, and each way back walks through all weights.
        return Ok(vec![
            differentiated(of_text("text_projection")?, projection, full(material)),
            differentiated(padded("left_padded_loss")?, Objective::Loss, thin(material)),
        ]);
    }
    let [token, minus] = two_tokens(text);
    let difference = Objective::LogitDifference {
        position: text.len() - 1,
        token,
        minus,
    };
    Ok(vec![
        differentiated(
            of_text("text_projection")?,
            projection.clone(),
            full(material),
        ),
        differentiated(of_text("text_loss")?, Objective::Loss, thin(material)),
        differentiated(
            of_text("text_logit_difference")?,
            difference,
            thin(material),
        ),
        differentiated(
            padded("left_padded_projection")?,
            projection,
            thin(material),
        ),
    ])
}

fn differentiated(stimulus: Stimulus, objective: Objective, capture: Vec<Quantity>) -> Stimulus {
    let mut stimulus = stimulus.showing(capture);
    stimulus.request.gradients = Some(GradientRequest { objective });
    stimulus
}

/// By every hook that fires by default, and every parameter.
fn full(material: &Material<'_>) -> Vec<Quantity> {
    let hooks = material.hooks.iter().filter(|hook| hook.gate.is_none());
    let parameters = material.parameters.iter();
    hooks
        .filter(|hook| !hook.holds_integers())
        .map(|hook| Quantity::HookGradient(hook.name.clone()))
        .chain(parameters.map(|parameter| Quantity::ParameterGradient(parameter.name.clone())))
        .collect()
}

/// By the stream, before the first block and after each.
fn thin(material: &Material<'_>) -> Vec<Quantity> {
    let is_stream = |hook: &&HookPoint| {
        hook.gate.is_none() && ["hook_embed", "hook_resid_post"].contains(&short_name(&hook.name))
    };
    let hooks = material.hooks.iter().filter(is_stream);
    hooks
        .map(|hook| Quantity::HookGradient(hook.name.clone()))
        .collect()
}

/// Two tokens of the text that differ, or the first two of all.
fn two_tokens(text: &[i64]) -> [usize; 2] {
    let token = |token: &i64| usize::try_from(*token).unwrap_or_default();
    let first = text.first().map(token);
    let other = text.iter().map(token).find(|other| Some(*other) != first);
    match (first, other) {
        (Some(first), Some(other)) => [first, other],
        _ => [0, 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_one_token_has_no_two() {
        assert_eq!(two_tokens(&[7, 7, 9]), [7, 9]);
        assert_eq!(two_tokens(&[7, 7]), [0, 1]);
    }
}
