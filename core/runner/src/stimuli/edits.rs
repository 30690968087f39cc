//! Questions about what an edit at a hook does.

use std::collections::BTreeSet;

use tlbench_sdk::{
    Action, Dim, HookPoint, Intervention, Padding, PluginError, Quantity, Stimulus, Target,
    short_name,
};

use super::Material;

/// Edits in one batch, beside the row without one: more would take the memory of as many logits.
const EDITS: usize = 7;

/// The share of a value's RMS that an edit changes it by.
const RELATIVE: f64 = 0.1;

/// Batches of copies of the text, in each row but the first of which one hook is edited at one position.
pub(super) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    let text = material.fitting_text();
    if text.len() < 2 {
        return Ok(Vec::new());
    }
    // Before the middle, so that what follows can show it.
    let position = (text.len() - 1) / 2;
    let hooks = edited_hooks(material);
    let batches = hooks.chunks(EDITS).enumerate();
    batches
        .map(|(index, hooks)| {
            let rows = vec![text.to_vec(); hooks.len() + 1];
            let id = format!("edits_{}", index + 1);
            let mut stimulus = Stimulus::from_rows(&id, &rows, Padding::Right, material.pad_token)?;
            stimulus.request.interventions = hooks
                .iter()
                .enumerate()
                .map(|(row, hook)| edit(hook, row + 1, position))
                .collect();
            Ok(stimulus.showing([Quantity::LossPerToken]))
        })
        .collect()
}

fn edit(hook: &HookPoint, row: usize, position: usize) -> Intervention {
    let action = Action::Perturb {
        seed: hook.order as u64,
        relative: RELATIVE,
    };
    let edit = Intervention::new(Target::Hook(hook.name.clone()), action).at_rows([row]);
    if hook.shape.contains(&Dim::Pos) {
        edit.at_positions([position])
    } else {
        edit
    }
}

/// Every hook that holds numbers; of a large model each kind in the first, a middle and the last block.
fn edited_hooks<'a>(material: &Material<'a>) -> Vec<&'a HookPoint> {
    let last = material.spec.layers.len().saturating_sub(1);
    let sampled: BTreeSet<usize> = [0, last / 2, last].into();
    let is_wanted = |hook: &&HookPoint| {
        let holds_numbers = !short_name(&hook.name).ends_with("hook_expert_indices");
        let is_sampled = layer_of(&hook.name).is_none_or(|layer| sampled.contains(&layer));
        holds_numbers && (!material.is_large() || is_sampled)
    };
    material.hooks.iter().filter(is_wanted).collect()
}

fn layer_of(name: &str) -> Option<usize> {
    let (layer, _) = name.strip_prefix("blocks.")?.split_once('.')?;
    layer.parse().ok()
}
