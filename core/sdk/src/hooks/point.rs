//! One hook point.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::HfTap;

/// A place in the forward pass where a value can be captured, edited and given a gradient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookPoint {
    /// HookedTransformer's name (`blocks.0.attn.hook_q`).
    pub name: String,
    /// The shape by dimension.
    pub shape: Vec<Dim>,
    /// The place in execution order.
    pub order: usize,
    /// What has to be asked for before it fires; `None` fires always.
    pub gate: Option<Gate>,
    /// Where HF shows the same value, if it does.
    pub hf_tap: Option<HfTap>,
}

impl HookPoint {
    /// The name of the component that it belongs to: `blocks.0.attn` for `blocks.0.attn.hook_q`.
    pub fn component(&self) -> &str {
        match self.name.as_str() {
            "hook_embed" => "embed",
            "hook_pos_embed" => "pos_embed",
            name => name
                .rsplit_once('.')
                .map_or(name, |(component, _)| component),
        }
    }

    /// The shape on an input of `batch` rows and `pos` positions, without a cache before it.
    pub fn sizes(&self, batch: usize, pos: usize) -> Vec<usize> {
        self.sizes_after(0, batch, pos)
    }

    /// The same behind `past` positions in a cache.
    pub fn sizes_after(&self, past: usize, batch: usize, pos: usize) -> Vec<usize> {
        let size = |dim: &Dim| match dim {
            Dim::Batch => batch,
            Dim::Pos => pos,
            Dim::KeyPos => past + pos,
            Dim::One => 1,
            Dim::Size { size, .. } => *size,
        };
        self.shape.iter().map(size).collect()
    }

    /// Whether the value is a choice among experts, which neither has a gradient nor can be edited a little.
    pub fn holds_integers(&self) -> bool {
        self.name.ends_with(".hook_expert_indices")
    }

    /// The shape as text: `[batch, pos, n_heads=5, d_head=6]`.
    pub fn shape_text(&self) -> String {
        let dims: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        format!("[{}]", dims.join(", "))
    }
}

/// The name of a hook within its block: `attn.hook_q` for `blocks.0.attn.hook_q`.
pub fn short_name(name: &str) -> &str {
    name.strip_prefix("blocks.")
        .and_then(|rest| rest.split_once('.'))
        .map_or(name, |(_, short)| short)
}

/// The block that a hook or component is in: 2 for `blocks.2.attn.hook_q`.
pub fn layer_of(name: &str) -> Option<usize> {
    let index = name.strip_prefix("blocks.")?.split('.').next()?;
    index.parse().ok()
}

/// One dimension of a hook's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Dim {
    /// Rows of the input.
    Batch,
    /// Positions of the queries.
    Pos,
    /// Positions of the keys, cached ones included.
    KeyPos,
    /// Kept, of size 1.
    One,
    /// Of a size that the spec fixes.
    Size {
        /// What it counts (`d_model`).
        name: String,
        /// How many.
        size: usize,
    },
}

impl Dim {
    pub(crate) fn sized(name: &str, size: usize) -> Self {
        Self::Size {
            name: name.to_owned(),
            size,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.write_str("batch"),
            Self::Pos => f.write_str("pos"),
            Self::KeyPos => f.write_str("key_pos"),
            Self::One => f.write_str("1"),
            Self::Size { name, size } => write!(f, "{name}={size}"),
        }
    }
}

/// HookedTransformer's config flag without which a hook does not fire. Here, asking for the hook is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// `use_attn_in`: one copy of the block's input per head.
    AttnIn,
    /// `use_split_qkv_input`: one copy per head, for queries, keys and values apart.
    SplitQkvInput,
    /// `use_attn_result`: what each head adds to the stream.
    AttnResult,
    /// `use_hook_mlp_in`: the MLP branch's copy of the stream.
    HookMlpIn,
}

impl Gate {
    /// HookedTransformer's name of the flag.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AttnIn => "use_attn_in",
            Self::SplitQkvInput => "use_split_qkv_input",
            Self::AttnResult => "use_attn_result",
            Self::HookMlpIn => "use_hook_mlp_in",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_in_the_name() {
        assert_eq!(layer_of("blocks.12.attn.hook_q"), Some(12));
        assert_eq!(layer_of("blocks.0"), Some(0));
        for name in [
            "hook_embed",
            "ln_final.hook_scale",
            "blocks.x.attn",
            "blocks.",
        ] {
            assert_eq!(layer_of(name), None, "{name}");
        }
    }

    #[test]
    fn keys_reach_back_into_the_cache() {
        let pattern = HookPoint {
            name: "blocks.0.attn.hook_pattern".into(),
            shape: vec![Dim::Batch, Dim::sized("n_heads", 5), Dim::Pos, Dim::KeyPos],
            order: 0,
            gate: None,
            hf_tap: None,
        };
        assert_eq!(pattern.sizes(2, 3), [2, 5, 3, 3]);
        assert_eq!(pattern.sizes_after(4, 2, 3), [2, 5, 3, 7]);
    }
}
