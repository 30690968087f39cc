//! What tells the families apart.

use tlbench_sdk::{ConfigError, ConfigReader, HeadDefaults, HeadWidth};

/// A family, with the defaults of HF's config class.
pub(crate) struct Family {
    /// HF's `model_type`.
    pub(crate) model_type: &'static str,
    /// HF's class.
    pub(crate) class: &'static str,
    pub(crate) d_vocab: usize,
    pub(crate) d_mlp: usize,
    pub(crate) n_ctx: usize,
    pub(crate) heads: HeadDefaults,
    pub(crate) qkv_bias: Bias,
    pub(crate) o_bias: Bias,
    pub(crate) mlp_bias: Bias,
    pub(crate) windows: Windows,
    pub(crate) head_norms: HeadNorming,
}

/// Whether products have a bias.
#[derive(Clone, Copy)]
pub(crate) enum Bias {
    Never,
    Always,
    /// Where this key says so.
    Asked(&'static str),
}

impl Bias {
    pub(crate) fn read(self, config: &ConfigReader) -> Result<bool, ConfigError> {
        match self {
            Self::Never => Ok(false),
            Self::Always => Ok(true),
            Self::Asked(key) => config.flag_or(&[key], false),
        }
    }

    pub(crate) fn key(self) -> Option<&'static str> {
        match self {
            Self::Asked(key) => Some(key),
            Self::Never | Self::Always => None,
        }
    }
}

/// Which layers look through a window.
#[derive(Clone, Copy)]
pub(crate) enum Windows {
    None,
    /// All, unless `sliding_window` is `null`.
    EveryLayer,
    /// Those from `max_window_layers` on, or those that `layer_types` names.
    Upper,
}

/// Whether each head of queries and keys is normalised.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum HeadNorming {
    No,
    BeforeRotary,
}

pub(crate) const LLAMA: Family = Family {
    model_type: "llama",
    class: "LlamaForCausalLM",
    d_vocab: 32_000,
    d_mlp: 11_008,
    n_ctx: 2048,
    heads: HeadDefaults {
        d_model: 4096,
        n_heads: 32,
        n_kv_heads: None,
        d_head: HeadWidth::Share,
    },
    qkv_bias: Bias::Asked("attention_bias"),
    o_bias: Bias::Asked("attention_bias"),
    mlp_bias: Bias::Asked("mlp_bias"),
    windows: Windows::None,
    head_norms: HeadNorming::No,
};

pub(crate) const MISTRAL: Family = Family {
    model_type: "mistral",
    class: "MistralForCausalLM",
    d_mlp: 14_336,
    n_ctx: 131_072,
    heads: HeadDefaults {
        n_kv_heads: Some(8),
        ..LLAMA.heads
    },
    qkv_bias: Bias::Never,
    o_bias: Bias::Never,
    mlp_bias: Bias::Never,
    windows: Windows::EveryLayer,
    ..LLAMA
};

pub(crate) const QWEN2: Family = Family {
    model_type: "qwen2",
    class: "Qwen2ForCausalLM",
    d_vocab: 151_936,
    d_mlp: 22_016,
    n_ctx: 32_768,
    heads: HeadDefaults {
        n_kv_heads: Some(32),
        ..LLAMA.heads
    },
    qkv_bias: Bias::Always,
    windows: Windows::Upper,
    ..MISTRAL
};

pub(crate) const QWEN3: Family = Family {
    model_type: "qwen3",
    class: "Qwen3ForCausalLM",
    heads: HeadDefaults {
        d_head: HeadWidth::Fixed(128),
        ..QWEN2.heads
    },
    qkv_bias: Bias::Asked("attention_bias"),
    o_bias: Bias::Asked("attention_bias"),
    head_norms: HeadNorming::BeforeRotary,
    ..QWEN2
};
