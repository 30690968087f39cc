//! What lies between two hooks: for each hook the operation that makes its value, as data.

mod attention;
mod mlp;
mod norm;
mod stream;

#[cfg(test)]
pub(super) mod tests;

use serde_json::{Map, Value};
use tlbench_sdk::spec::{LayerSpec, ModelSpec};
use tlbench_sdk::{layer_of, short_name};

/// The operation that makes one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    /// The hook that shows it, or [`LOGITS`].
    pub(crate) result: String,
    /// How it is computed, in the names of what is read, of the canonical weights and of the parameters.
    pub(crate) formula: String,
    /// The values that go in.
    pub(crate) reads: Vec<Read>,
    /// The weights that do, by component and role: `blocks.0.attn.q` stands for its weight and its bias.
    pub(crate) weights: Vec<String>,
    /// The spec's numbers and choices in the formula.
    pub(crate) parameters: Map<String, Value>,
}

/// A value that goes into an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Read {
    /// The hook that shows it, or an input of the model.
    pub(crate) name: String,
    /// Which of its positions are read for one position of the result.
    pub(crate) at: At,
}

/// Which positions of a value are read for one position of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    /// The same one.
    Same,
    /// All that the query sees.
    Keys,
}

/// How the end of the model is called, which is no hook.
pub(crate) const LOGITS: &str = "logits";

/// The operation that makes the value at `hook`; `None` for a hook that the spec does not have.
pub(crate) fn operation_of(spec: &ModelSpec, hook: &str) -> Option<Operation> {
    match layer_of(hook) {
        None => stream::operation(spec, hook),
        Some(index) => {
            let layer = spec.layers.get(index)?;
            let block = Block { spec, index, layer };
            let short = short_name(hook);
            match short.split_once('.') {
                Some(("attn", short)) => attention::operation(&block, short),
                Some(("mlp", short)) => mlp::operation(&block, short),
                Some((norm, short)) => norm::of_block(&block, norm, short),
                None => stream::in_block(&block, short),
            }
        }
    }
}

/// A block, with its number.
struct Block<'a> {
    spec: &'a ModelSpec,
    index: usize,
    layer: &'a LayerSpec,
}

impl Block<'_> {
    fn part(&self, short: &str) -> String {
        format!("blocks.{}.{short}", self.index)
    }
}

impl Operation {
    fn new(result: impl Into<String>, formula: impl Into<String>) -> Self {
        Self {
            result: result.into(),
            formula: formula.into(),
            reads: Vec::new(),
            weights: Vec::new(),
            parameters: Map::new(),
        }
    }

    fn reading(mut self, name: impl Into<String>) -> Self {
        self.reads.push(Read {
            name: name.into(),
            at: At::Same,
        });
        self
    }

    fn reading_keys(mut self, name: impl Into<String>) -> Self {
        self.reads.push(Read {
            name: name.into(),
            at: At::Keys,
        });
        self
    }

    fn with_weights(mut self, part: impl Into<String>) -> Self {
        self.weights.push(part.into());
        self
    }

    fn with(mut self, name: &str, value: impl serde::Serialize) -> Self {
        // Parts of a spec hold nothing that JSON cannot.
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        if !value.is_null() {
            self.parameters.insert(name.to_owned(), value);
        }
        self
    }

    /// The same with what goes into the value `input` as well.
    fn through(mut self, input: Source) -> Self {
        let Source {
            reads,
            weights,
            parameters,
            ..
        } = input;
        self.reads.extend(reads);
        self.weights.extend(weights);
        self.parameters.extend(parameters);
        self
    }
}

/// A value that no hook shows, such as a normalised one with its gain: how it comes about of those that do.
struct Source {
    formula: String,
    reads: Vec<Read>,
    weights: Vec<String>,
    parameters: Map<String, Value>,
}

impl Source {
    /// What `hook` shows, as it is.
    fn hook(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            formula: short_name(&name).to_owned(),
            reads: vec![Read { name, at: At::Same }],
            weights: Vec::new(),
            parameters: Map::new(),
        }
    }

    /// The same, of which all keys are read.
    fn of_keys(mut self) -> Self {
        for read in &mut self.reads {
            read.at = At::Keys;
        }
        self
    }
}
