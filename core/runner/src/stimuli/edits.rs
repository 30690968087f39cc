//! Edits of the text's values, one in each row of a batch.

use std::collections::BTreeSet;

use tlbench_sdk::{
    Action, HookPoint, Intervention, Padding, PluginError, Quantity, Stimulus, Target, is_large,
    layer_of,
};

use super::Material;

/// Rows of a batch, the first of which is not edited. Each batch costs a large model a walk through all of its weights.
const fn rows(is_large: bool) -> usize {
    if is_large { 20 } else { 8 }
}

/// Tokens of the text that are edited in a large model.
const SHORT: usize = 5;

/// Strong enough to tell every floor apart, and weak enough not to drown the rest.
const EDIT: Action = Action::Perturb {
    seed: 0,
    relative: 0.1,
};

pub(super) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    let hooks = edited(material);
    let text = edited_text(material);
    let middle = text.len() / 2;
    let batch = |(index, hooks): (usize, &[&HookPoint])| {
        let rows = vec![text.to_vec(); 1 + hooks.len()];
        let id = format!("edits_{}", index + 1);
        let mut stimulus = Stimulus::from_rows(&id, &rows, Padding::Right, material.pad)?
            .showing([Quantity::LossPerToken]);
        let edits = hooks.iter().enumerate().map(|(row, hook)| {
            let target = Target::Hook(hook.name.clone());
            let edit = Intervention::new(target, EDIT).at_rows([1 + row]);
            edit.at_positions([middle])
        });
        stimulus.request.interventions = edits.collect();
        Ok(stimulus)
    };
    let edited_rows = rows(is_large(material.parameters)) - 1;
    hooks.chunks(edited_rows).enumerate().map(batch).collect()
}

/// Every hook whose value can be edited a little; those behind a gate come last, as not every reference has them.
fn edited<'a>(material: &Material<'a>) -> Vec<&'a HookPoint> {
    let layers = edited_layers(material);
    let is_edited = |hook: &&HookPoint| {
        !hook.holds_integers() && layer_of(&hook.name).is_none_or(|layer| layers.contains(&layer))
    };
    let mut hooks: Vec<&HookPoint> = material.hooks.iter().filter(is_edited).collect();
    hooks.sort_by_key(|hook| hook.gate.is_some());
    hooks
}

/// All layers of a small model; of a large one the first, a middle one and the last.
fn edited_layers(material: &Material<'_>) -> BTreeSet<usize> {
    let count = material.spec.layers.len();
    if is_large(material.parameters) {
        [0, count / 2, count.saturating_sub(1)].into()
    } else {
        (0..count).collect()
    }
}

/// All of the text for a small model, and its beginning for a large one.
fn edited_text<'a>(material: &Material<'a>) -> &'a [i64] {
    if is_large(material.parameters) {
        &material.text[..material.text.len().min(SHORT)]
    } else {
        material.text
    }
}
