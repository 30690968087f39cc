//! What the inputs of a run are made of.

use super::Section;
use super::problem::ProblemKind;

/// What the inputs of a run are made of, where no recording says what its inputs were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// `text`: what is tokenised.
    Text(String),
    /// `input_ids`: tokens, for a folder without a tokenizer or with one that is not to be trusted.
    Tokens(Vec<i64>),
}

impl Prompt {
    /// What it is, for messages.
    pub(crate) const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Tokens(_) => "list of token ids",
        }
    }
}

impl Default for Prompt {
    fn default() -> Self {
        Self::Text("The quick brown fox jumps over the lazy dog.".into())
    }
}

/// Reads `text` or `input_ids`, if one of them is there.
pub(super) fn read_prompt(section: &Section<'_>) -> Option<Prompt> {
    let text = section.text("text").map(Prompt::Text);
    let tokens = section.token_ids("input_ids").map(Prompt::Tokens);
    if text.is_some() && tokens.is_some() {
        section.note("input_ids", |place| ProblemKind::Alternatives {
            key: "input_ids",
            other: "text",
            place,
        });
    }
    tokens.or(text)
}
