//! From a prompt to the inputs of a run.

use tlbench_checkpoint::CheckpointError;
use tlbench_sdk::{Parameter, Processing, Stimulus, is_large};

use crate::config::Prompt;
use crate::model::{Model, ModelError};
use crate::stimuli::{Material, stimuli};

/// The default text is cut to so many tokens, as everything is looked at on it; one that somebody chose is not.
const DEFAULT_LENGTH: usize = 20;

/// The questions about `model`, with its weights processed so, where no recording says what they are.
///
/// # Errors
/// If the text cannot be tokenised, or there are tokens that the model does not take.
pub(crate) fn default_stimuli(
    model: &Model,
    processing: &Processing,
    prompt: &Prompt,
    max_tokens: Option<usize>,
) -> Result<Vec<Stimulus>, ModelError> {
    let parameters = model.parameters(processing);
    let max_tokens = max_tokens.unwrap_or_else(|| longest_input(&parameters));
    let (origin, tokens, pad) = match prompt {
        Prompt::Text(text) => {
            let (mut tokens, pad) = tokenised(model, text)?;
            if *prompt == Prompt::default() {
                tokens.truncate(DEFAULT_LENGTH);
            }
            ("tokenizer", tokens, pad)
        }
        Prompt::Tokens(tokens) => {
            refuse_too_many(tokens.len(), model.spec.n_ctx, max_tokens)?;
            ("input_ids", tokens.clone(), None)
        }
    };
    let d_vocab = model.spec.d_vocab;
    let known = |token: &i64| usize::try_from(*token).is_ok_and(|token| token < d_vocab);
    if let Some(&token) = tokens.iter().find(|token| !known(token)) {
        return Err(ModelError::Token {
            origin,
            token,
            d_vocab,
        });
    }
    let pad = pad.filter(known).unwrap_or(0);
    let is_known = |token: &usize| *token < d_vocab;
    let stop_tokens: Vec<usize> = model
        .folder
        .stop_tokens()?
        .into_iter()
        .filter(is_known)
        .collect();
    let material = Material {
        spec: &model.spec,
        hooks: &model.hooks,
        parameters: &parameters,
        text: &tokens,
        pad,
        stop_tokens: &stop_tokens,
        max_tokens,
    };
    let mut stimuli = stimuli(&material).map_err(ModelError::Inputs)?;
    for stimulus in &mut stimuli {
        stimulus.request.processing = processing.clone();
    }
    Ok(stimuli)
}

fn longest_input(parameters: &[Parameter]) -> usize {
    if is_large(parameters) { 32 } else { 256 }
}

/// Tokens, and the one that fills up. Without a tokenizer the text's bytes serve as tokens.
fn tokenised(model: &Model, text: &str) -> Result<(Vec<i64>, Option<i64>), ModelError> {
    match model.folder.tokenizer() {
        Ok(tokenizer) => {
            let pad = tokenizer.pad().or_else(|| tokenizer.eos());
            Ok((tokenizer.encode(text)?, pad))
        }
        Err(CheckpointError::NoTokenizer { .. }) => {
            Ok((bytes_as_tokens(text, model.spec.d_vocab), None))
        }
        Err(error) => Err(error.into()),
    }
}

/// A text is cut to what fits; tokens that somebody chose one by one are not.
fn refuse_too_many(
    found: usize,
    n_ctx: Option<usize>,
    max_tokens: usize,
) -> Result<(), ModelError> {
    let (context, limit) = match n_ctx {
        Some(n_ctx) if n_ctx <= max_tokens => (n_ctx, "the model's context"),
        _ => (max_tokens, "max_tokens"),
    };
    if found <= context {
        return Ok(());
    }
    Err(ModelError::TooManyTokens {
        context,
        limit,
        found,
    })
}

fn bytes_as_tokens(text: &str, d_vocab: usize) -> Vec<i64> {
    text.bytes()
        .map(|byte| (usize::from(byte) % d_vocab.max(1)) as i64)
        .collect()
}
