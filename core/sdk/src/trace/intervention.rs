//! Edits made while a model runs.

use serde::{Deserialize, Serialize};

/// An edit made while the model runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervention {
    /// What is edited.
    pub target: Target,
    /// The rows of the batch that are, or entries of the first dimension of a weight; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<usize>>,
    /// The query positions that are; `None`: all. A weight has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Vec<usize>>,
    /// How.
    pub action: Action,
}

impl Intervention {
    /// An edit of all of `target`.
    pub fn new(target: Target, action: Action) -> Self {
        Self {
            target,
            rows: None,
            positions: None,
            action,
        }
    }

    /// The same edit of these rows alone.
    #[must_use]
    pub fn at_rows(mut self, rows: impl Into<Vec<usize>>) -> Self {
        self.rows = Some(rows.into());
        self
    }

    /// The same edit at these positions alone.
    #[must_use]
    pub fn at_positions(mut self, positions: impl Into<Vec<usize>>) -> Self {
        self.positions = Some(positions.into());
        self
    }
}

/// What an intervention edits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// The value at a hook, on the way forward.
    Hook(String),
    /// The gradient at a hook, on the way back: what is before the hook gets the edited one.
    HookGradient(String),
    /// A checkpoint tensor, or a canonical weight (`blocks.0.attn.W_V`). The edit lasts for this question alone.
    Weight(String),
}

/// How an intervention edits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Sets to 0.
    Zero,
    /// Multiplies.
    Scale {
        /// By this.
        factor: f64,
    },
    /// Adds an operand, broadcast from the right.
    Add {
        /// Its name.
        operand: String,
    },
    /// Puts an operand of the same shape in its place.
    Replace {
        /// Its name.
        operand: String,
    },
    /// Adds [`noise`](crate::noise) of the value's shape, times `relative` times the RMS of what is edited. What is not
    /// finite (a masked score) neither counts nor changes.
    Perturb {
        /// Of the noise.
        seed: u64,
        /// How strong, as a share of the RMS.
        relative: f64,
    },
}
