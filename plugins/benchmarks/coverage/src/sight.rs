//! Which keys a query sees, as scores or the pattern show it.

use std::fmt;

use tlbench_sdk::judge::askable;
use tlbench_sdk::{ModelInfo, PluginError, Quantity, Stimulus, Tensor};

/// What shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Scores: minus infinity where a key is hidden.
    Scores,
    /// The pattern: 0 where a key is hidden.
    Pattern,
}

impl Shown {
    /// The hook, of the attention `name`.
    pub(crate) fn hook(self, name: &str) -> String {
        match self {
            Self::Scores => format!("{name}.hook_attn_scores"),
            Self::Pattern => format!("{name}.hook_pattern"),
        }
    }

    /// The better one of those that are shown on `stimulus`: a weight may be rounded to 0.
    pub(crate) fn best(model: &ModelInfo, stimulus: &Stimulus, name: &str) -> Option<Self> {
        [Self::Scores, Self::Pattern].into_iter().find(|shown| {
            let quantity = Quantity::hook(shown.hook(name));
            stimulus.shows(&quantity) && !askable(model, &[quantity]).is_empty()
        })
    }

    const fn is_seen(self, value: f64) -> bool {
        match self {
            Self::Scores => value != f64::NEG_INFINITY,
            Self::Pattern => value != 0.0,
        }
    }
}

/// The keys that one query sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys(pub(crate) Vec<usize>);

/// Consecutive ones as a range: `2 to 5, 7`.
impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no key");
        }
        let runs = self.0.chunk_by(|a, b| a + 1 == *b);
        let runs: Vec<String> = runs
            .map(|run| match run {
                [first, .., last] => format!("{first} to {last}"),
                one => one.iter().map(ToString::to_string).collect(),
            })
            .collect();
        write!(
            f,
            "{} {}",
            if self.0.len() == 1 { "key" } else { "keys" },
            runs.join(", ")
        )
    }
}

/// What the queries of one block see.
pub(crate) struct Sight {
    shown: Shown,
    values: Vec<f64>,
    shape: [usize; 4],
}

/// One query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) row: usize,
    pub(crate) head: usize,
    pub(crate) pos: usize,
}

impl Sight {
    /// Of `[batch, n_heads, pos, key_pos]`.
    pub(crate) fn new(shown: Shown, tensor: &Tensor) -> Result<Self, PluginError> {
        let shape = <[usize; 4]>::try_from(tensor.shape()).map_err(|_| {
            let found = tensor.shape();
            PluginError::invalid_input(format!(
                "expected [batch, n_heads, pos, key_pos], found {found:?}"
            ))
        })?;
        Ok(Self {
            shown,
            values: tensor.to_f64_vec(),
            shape,
        })
    }

    pub(crate) const fn shape(&self) -> [usize; 4] {
        self.shape
    }

    pub(crate) fn queries(&self) -> impl Iterator<Item = Query> + use<> {
        let [batch, heads, pos, _] = self.shape;
        (0..batch * heads * pos).map(move |at| Query {
            row: at / (heads * pos),
            head: at / pos % heads,
            pos: at % pos,
        })
    }

    pub(crate) fn keys(&self, query: Query) -> Keys {
        let values = self.values_of(query).iter().enumerate();
        let seen = values.filter(|(_, value)| self.shown.is_seen(**value));
        Keys(seen.map(|(key, _)| key).collect())
    }

    /// Whether both see the same, but for weights that are at most `floor`: one of them may have been rounded to 0.
    pub(crate) fn agrees(&self, other: &Self, query: Query, floor: f64) -> bool {
        let pairs = self.values_of(query).iter().zip(other.values_of(query));
        let differ = |(&a, &b): (&f64, &f64)| {
            let is_rounded = self.shown == Shown::Pattern && a.max(b) <= floor;
            self.shown.is_seen(a) != self.shown.is_seen(b) && !is_rounded
        };
        !pairs.into_iter().any(differ)
    }

    fn values_of(&self, Query { row, head, pos }: Query) -> &[f64] {
        let [_, heads, queries, keys] = self.shape;
        let first = ((row * heads + head) * queries + pos) * keys;
        &self.values[first..first + keys]
    }
}
