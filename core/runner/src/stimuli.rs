//! The questions about a model: what every run asks, and every recording holds.
//!
//! Which of them a benchmark needs, it tells by what they ask; none is there for a benchmark by name.

mod edits;
mod generation;
mod gradients;
mod plain;

use tlbench_sdk::{HookPoint, ModelSpec, Parameter, PluginError, Stimulus};

/// Above this many parameters (64 MB in f32) work is sampled by rule, since it grows with the model.
const LARGE: usize = 16 << 20;

/// What the questions are made from.
pub(crate) struct Material<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) hooks: &'a [HookPoint],
    /// What has a gradient.
    pub(crate) parameters: &'a [Parameter],
    /// At least one token.
    pub(crate) text: &'a [i64],
    pub(crate) pad_token: i64,
    pub(crate) max_tokens: usize,
    /// Tokens that end a generation.
    pub(crate) stop_tokens: &'a [usize],
}

impl Material<'_> {
    /// How many tokens an input may have.
    fn context(&self) -> usize {
        let context = self.spec.n_ctx.unwrap_or(self.max_tokens);
        context.min(self.max_tokens).max(1)
    }

    /// The text as far as it fits.
    fn fitting_text(&self) -> &[i64] {
        &self.text[..self.text.len().min(self.context())]
    }

    /// Whether the model is too large to try everything on it.
    fn is_large(&self) -> bool {
        let elements = self
            .parameters
            .iter()
            .map(|parameter| parameter.shape.iter().product::<usize>());
        elements.sum::<usize>() > LARGE
    }
}

/// All questions.
///
/// # Errors
/// If the text has no token.
pub(crate) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    if material.text.is_empty() {
        return Err(PluginError::invalid_input(
            "text: expected at least one token, found none",
        ));
    }
    let mut list = plain::stimuli(material)?;
    list.extend(gradients::stimuli(material)?);
    list.extend(edits::stimuli(material)?);
    list.extend(generation::stimuli(material)?);
    Ok(list)
}
