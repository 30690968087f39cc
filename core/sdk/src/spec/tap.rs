//! Where HuggingFace's implementation shows the same values.

use serde::{Deserialize, Serialize};

/// A place in the HF module tree where a value passes by, and how to bring it into our shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HfTap {
    /// The module's path from the causal LM's root (`transformer.h.0.attn.c_attn`).
    pub module: String,
    /// Which of its values.
    pub port: Port,
    /// From HF's shape to ours, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<TapStep>,
}

impl HfTap {
    /// A tap without steps.
    pub fn new(module: impl Into<String>, port: Port) -> Self {
        Self {
            module: module.into(),
            port,
            steps: Vec::new(),
        }
    }

    /// The output of `module`.
    pub fn output(module: impl Into<String>) -> Self {
        Self::new(module, Port::Output)
    }

    /// The first input of `module`.
    pub fn input(module: impl Into<String>) -> Self {
        Self::new(module, Port::Input)
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: TapStep) -> Self {
        self.steps.push(step);
        self
    }
}

/// Which value of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// The first argument of its `forward`.
    Input,
    /// What its `forward` returns (the first of several).
    Output,
    /// Of a norm: what it divides by, `[.., 1]`.
    NormScale,
    /// Of a norm: its value before gain and bias.
    NormNormalized,
    /// Of an attention module: queries as they meet the keys, `[batch, pos, n_heads, d_head]`.
    Query,
    /// Keys, `[batch, key_pos, n_kv_heads, d_head]`.
    Key,
    /// Values, `[batch, key_pos, n_kv_heads, d_head]`.
    Value,
    /// Scores after scale, softcap, bias and mask, `[batch, n_heads, pos, key_pos]`; masked entries are -inf.
    Scores,
    /// The softmax of the scores, `[batch, n_heads, pos, key_pos]`.
    Pattern,
    /// The pattern's mix of values, `[batch, pos, n_heads, d_head]`.
    Mixed,
    /// Of a mixture of experts: what its router chooses by, `[batch, pos, n_experts]`.
    RouterScores,
    /// The experts that it chooses, best first, `[batch, pos, top_k]`.
    RouterChoice,
}

/// How HF lets one see inside an attention module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionPort {
    /// Through an attention and a mask function registered with transformers' interfaces.
    Interface,
    /// By tapping softmax and the products around it while the module runs (bloom, gpt_neo, falcon, gptj).
    Operations,
    /// Not at all.
    Opaque,
}

/// One step from HF's shape to ours; each can be undone, so that a tap can also be written through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TapStep {
    /// `len` entries of the last dimension from `start` on.
    Slice {
        /// The first entry.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Splits the last dimension into these sizes.
    Split {
        /// Their product is the last dimension.
        sizes: Vec<usize>,
    },
    /// Takes entry `index` of dimension `dim`, which is gone then; a negative `dim` counts from the end.
    Select {
        /// The dimension.
        dim: isize,
        /// The entry.
        index: usize,
    },
    /// Swaps two dimensions; negative ones count from the end.
    Transpose {
        /// One.
        a: isize,
        /// The other.
        b: isize,
    },
}
