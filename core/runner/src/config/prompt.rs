//! What the inputs of a run are made of.

use super::Section;

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
    if section.has("input_ids") {
        section.excludes("input_ids", "text");
        return section.token_ids("input_ids").map(Prompt::Tokens);
    }
    section.text("text").map(Prompt::Text)
}
