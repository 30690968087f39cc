//! Tokens that follow the beginning of the text.

use tlbench_sdk::{GenerateRequest, Padding, PluginError, Quantity, Sampling, Stimulus, is_large};

use super::{Material, batch_rows};

/// Tokens of the prompt.
const PROMPT: usize = 6;

/// Tokens that follow it. Each costs a large model a walk through all of its weights.
const fn new_tokens(is_large: bool) -> usize {
    if is_large { 4 } else { 16 }
}

/// Tokens that follow each row of a padded batch.
const fn new_tokens_of_batch(is_large: bool) -> usize {
    if is_large { 3 } else { 8 }
}

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
    let is_large = is_large(material.parameters);
    let batch = batch_rows(material.text, longest);
    let [single, padded] = [("generation", vec![prompt]), ("generation_padded", batch)]
        .map(|(id, rows)| Stimulus::from_rows(id, &rows, Padding::Left, material.pad));
    Ok(vec![
        continued(single?, new_tokens(is_large).min(room), material),
        continued(
            padded?,
            new_tokens_of_batch(is_large).min(context - longest),
            material,
        ),
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
