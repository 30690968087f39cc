//! From text to the inputs of a run.

use tlbench_checkpoint::CheckpointError;
use tlbench_sdk::Stimulus;

use crate::model::{Model, ModelError};
use crate::stimuli::stimuli;

/// The inputs for `model` where no recording says what they are. Without a tokenizer the text's bytes serve as tokens.
///
/// # Errors
/// If the text cannot be tokenised.
pub(crate) fn default_stimuli(
    model: &Model,
    text: &str,
    max_tokens: usize,
) -> Result<Vec<Stimulus>, ModelError> {
    let (tokens, pad) = match model.folder.tokenizer() {
        Ok(tokenizer) => (
            tokenizer.encode(text)?,
            tokenizer.pad().or_else(|| tokenizer.eos()),
        ),
        Err(CheckpointError::NoTokenizer { .. }) => {
            (bytes_as_tokens(text, model.spec.d_vocab), None)
        }
        Err(error) => return Err(error.into()),
    };
    let known = |token: &i64| usize::try_from(*token).is_ok_and(|token| token < model.spec.d_vocab);
    if let Some(token) = tokens.iter().find(|token| !known(token)) {
        return Err(ModelError::Token {
            token: *token,
            d_vocab: model.spec.d_vocab,
        });
    }
    let pad = pad.filter(known).unwrap_or(0);
    stimuli(&model.spec, &model.hooks, &tokens, pad, max_tokens).map_err(ModelError::Inputs)
}

fn bytes_as_tokens(text: &str, d_vocab: usize) -> Vec<i64> {
    text.bytes()
        .map(|byte| (usize::from(byte) % d_vocab.max(1)) as i64)
        .collect()
}
