//! What fires while a model runs, in its own words.

use serde::{Deserialize, Serialize};

/// Every hook of a source, as it fires there, to be compared with the hooks of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firings {
    /// Rows and positions of the input.
    pub input: [usize; 2],
    /// What fires in one pass, in order. There are several where no single one makes every hook fire.
    pub passes: Vec<Vec<FiredHook>>,
}

/// A hook that fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FiredHook {
    /// Its name.
    pub name: String,
    /// The shape of its value.
    pub shape: Vec<usize>,
    /// How often it fires in the pass; its place is that of the first time.
    pub times: usize,
}
