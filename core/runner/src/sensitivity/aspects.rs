//! What sets a question apart from one plain pass.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use tlbench_sdk::{TraceRequest, is_padded};

/// One thing that a question asks for beyond a plain pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Something is differentiated.
    Gradients,
    /// The weights are processed first.
    ProcessedWeights,
    /// Keys and values of earlier positions come from a cache.
    Cache,
    /// Rows are of different lengths.
    Padding,
}

/// All that a question asks for beyond a plain pass; nothing: it asks for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Aspects(BTreeSet<Aspect>);

impl Aspects {
    /// Of `question`.
    pub(crate) fn of(question: &TraceRequest) -> Self {
        let generate = question.generate.as_ref();
        let is_cached =
            !question.chunks.is_empty() || generate.is_some_and(|generate| generate.use_cache);
        let has = [
            (Aspect::Gradients, question.gradients.is_some()),
            (Aspect::ProcessedWeights, !question.processing.is_raw()),
            (Aspect::Cache, is_cached),
            (Aspect::Padding, is_padded(&question.inputs)),
        ];
        let has = has.into_iter().filter(|(_, has)| *has);
        Self(has.map(|(aspect, _)| aspect).collect())
    }

    /// Whether a question with these asks for all that one with `other` does.
    pub(crate) fn contain(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }
}

/// As a kind of run: `a differentiated run of padded rows`.
impl fmt::Display for Aspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |aspect, words| match self.0.contains(&aspect) {
            true => words,
            false => "",
        };
        write!(
            f,
            "a {}{}{}{}",
            match self.0.first() {
                None => "plain run",
                Some(Aspect::Gradients) => "differentiated run",
                Some(_) => "run",
            },
            words(Aspect::ProcessedWeights, " with processed weights"),
            words(Aspect::Cache, " through the cache"),
            words(Aspect::Padding, " of padded rows"),
        )
    }
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::{Padding, Stimulus};

    use super::*;

    #[test]
    fn the_kind_of_run_is_told_in_words() {
        let rows = [vec![1, 2, 3], vec![4]];
        let padded = Stimulus::from_rows("padded", &rows, Padding::Left, 0).unwrap();
        let padded = TraceRequest {
            chunks: vec![1, 2],
            ..padded.request
        };
        let plain = Stimulus::from_rows("plain", &rows[..1], Padding::Left, 0).unwrap();
        let told = [plain.request, padded].map(|question| Aspects::of(&question).to_string());
        assert_eq!(
            told,
            ["a plain run", "a run through the cache of padded rows"]
        );
    }
}
