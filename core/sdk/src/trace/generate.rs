//! Tokens to append.

use serde::{Deserialize, Serialize};

/// Tokens to append.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// At most this many.
    pub max_new_tokens: usize,
    /// Tokens that end a row. A row that has ended is filled up with the first of them while others go on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_tokens: Vec<usize>,
    /// Whether keys and values are kept from step to step.
    pub use_cache: bool,
    /// How the next token is chosen.
    pub sampling: Sampling,
}

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampling {
    /// The largest logit; of equal ones the first.
    Greedy,
    /// In proportion to `exp(logit / temperature)`.
    Temperature {
        /// The temperature.
        temperature: f64,
        /// Of the random numbers.
        seed: u64,
    },
}
