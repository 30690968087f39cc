//! Tokens that follow the beginning of the text.

use tlbench_sdk::{GenerateRequest, Padding, PluginError, Quantity, Sampling, Stimulus};

use super::{Material, batch_rows};

/// Tokens of the prompt.
const PROMPT: usize = 6;

/// Tokens that follow it.
const NEW: usize = 16;

/// Tokens that follow each row of a padded batch.
const NEW_OF_BATCH: usize = 8;

pub(super) fn stimuli(
    material: &Material<'_>,
    context: usize,
) -> Result<Vec<Stimulus>, PluginError> {
    // A context without room for more has nothing to generate.
    let longest = PROMPT.min(context.saturating_sub(1));
    let prompt: Vec<i64> = material.text.iter().copied().take(longest).collect();
    if prompt.is_empty() {
        return Ok(Vec::new());
    }
    let room = context - prompt.len();
    let batch = batch_rows(material.text, longest);
    let [single, padded] = [("generation", vec![prompt]), ("generation_padded", batch)]
        .map(|(id, rows)| Stimulus::from_rows(id, &rows, Padding::Left, material.pad));
    Ok(vec![
        continued(single?, NEW.min(room), material),
        continued(padded?, NEW_OF_BATCH.min(context - longest), material),
    ])
}

fn continued(stimulus: Stimulus, max_new_tokens: usize, material: &Material<'_>) -> Stimulus {
    let mut stimulus = stimulus.showing([Quantity::Generated]);
    stimulus.request.generate = Some(GenerateRequest {
        max_new_tokens,
        stop_tokens: material.stop_tokens.to_vec(),
        use_cache: true,
        sampling: Sampling::Greedy,
    });
    stimulus
}
