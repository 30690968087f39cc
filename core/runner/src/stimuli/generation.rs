//! Questions for tokens.

use tlbench_sdk::{GenerateRequest, Padding, PluginError, Quantity, Sampling, Stimulus};

use super::Material;
use super::plain::batch_rows;

/// Tokens of the prompt, at most.
const PROMPT: usize = 6;
/// Tokens that are appended to it.
const NEW: usize = 16;
/// Tokens that are appended to each row of a batch.
const NEW_IN_BATCH: usize = 8;

/// Greedy continuations of the beginning of the text, and of a padded batch.
pub(super) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    let text = material.fitting_text();
    let context = material.context();
    let prompt = [text[..text.len().min(PROMPT)].to_vec()];
    let batch = batch_rows(text, context.saturating_sub(NEW_IN_BATCH));
    let of = |id, rows: &[Vec<i64>], new: usize| {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let max_new_tokens = new.min(context.saturating_sub(longest));
        if max_new_tokens == 0 {
            return Ok::<_, PluginError>(None);
        }
        let mut stimulus = Stimulus::from_rows(id, rows, Padding::Left, material.pad_token)?;
        stimulus.request.generate = Some(GenerateRequest {
            max_new_tokens,
            stop_tokens: material.stop_tokens.to_vec(),
            use_cache: true,
            sampling: Sampling::Greedy,
        });
        Ok(Some(stimulus.showing([Quantity::Generated])))
    };
    let list = [
        of("generation", &prompt, NEW)?,
        of("generation_padded", &batch, NEW_IN_BATCH)?,
    ];
    Ok(list.into_iter().flatten().collect())
}
