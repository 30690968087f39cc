//! What `config.json` says, with HF's defaults.

use serde_json::Value;
use tlbench_sdk::spec::{Activation, Heads, Mask, Renormalise, RotarySpec};
use tlbench_sdk::{ConfigError, ConfigReader, HeadDefaults, HeadWidth, RotaryKeys};

/// Which of HF's classes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Mixtral,
    Olmoe,
    Qwen3,
}

const FAMILIES: &[(&str, Family)] = &[
    ("mixtral", Family::Mixtral),
    ("olmoe", Family::Olmoe),
    ("qwen3_moe", Family::Qwen3),
];

/// HF's defaults, and its spellings of keys that have more than one; the one that wins goes first.
struct Defaults {
    d_vocab: usize,
    d_mlp: usize,
    n_layers: usize,
    heads: HeadDefaults,
    n_ctx: usize,
    eps: f64,
    theta: f64,
    n_experts: usize,
    top_k: usize,
    experts_keys: [&'static str; 2],
}

impl Family {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Mixtral => "MixtralForCausalLM",
            Self::Olmoe => "OlmoeForCausalLM",
            Self::Qwen3 => "Qwen3MoeForCausalLM",
        }
    }

    const fn defaults(self) -> Defaults {
        match self {
            Self::Mixtral => Defaults {
                d_vocab: 32000,
                d_mlp: 14336,
                n_layers: 32,
                heads: HeadDefaults {
                    d_model: 4096,
                    n_heads: 32,
                    n_kv_heads: Some(8),
                    d_head: HeadWidth::ShareRoundedDown,
                },
                n_ctx: 131_072,
                eps: 1e-5,
                theta: 1e6,
                n_experts: 8,
                top_k: 2,
                experts_keys: ["num_experts", "num_local_experts"],
            },
            Self::Olmoe => Defaults {
                d_vocab: 50304,
                d_mlp: 2048,
                n_layers: 16,
                heads: HeadDefaults {
                    d_model: 2048,
                    n_heads: 16,
                    n_kv_heads: None,
                    // Norms over all heads would not fit another.
                    d_head: HeadWidth::Share,
                },
                n_ctx: 4096,
                eps: 1e-5,
                theta: 10_000.0,
                n_experts: 64,
                top_k: 8,
                experts_keys: ["num_local_experts", "num_experts"],
            },
            Self::Qwen3 => Defaults {
                d_vocab: 151_936,
                d_mlp: 6144,
                n_layers: 24,
                heads: HeadDefaults {
                    d_model: 2048,
                    n_heads: 32,
                    n_kv_heads: Some(4),
                    d_head: HeadWidth::ShareRoundedDown,
                },
                n_ctx: 32768,
                eps: 1e-6,
                theta: 10_000.0,
                n_experts: 128,
                top_k: 8,
                experts_keys: ["num_local_experts", "num_experts"],
            },
        }
    }
}

/// Keys without influence on the logits: of training alone.
const NEUTRAL: &[&str] = &[
    "attention_dropout",
    "output_router_logits",
    "router_aux_loss_coef",
    "router_jitter_noise",
];

/// What a layer has for an MLP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerMlp {
    Dense,
    Sparse,
}

/// What a model is made from.
pub(crate) struct Hyper {
    pub(crate) family: Family,
    pub(crate) d_vocab: usize,
    /// Of dense layers.
    pub(crate) d_mlp: usize,
    /// Of an expert.
    pub(crate) d_expert: usize,
    pub(crate) heads: Heads,
    pub(crate) n_ctx: usize,
    pub(crate) eps: f64,
    pub(crate) activation: Activation,
    pub(crate) rotary: RotarySpec,
    pub(crate) mask: Mask,
    pub(crate) clip_qkv: Option<f64>,
    pub(crate) biased: bool,
    pub(crate) n_experts: usize,
    pub(crate) top_k: usize,
    pub(crate) renormalise: Renormalise,
    pub(crate) tied: bool,
    pub(crate) layers: Vec<LayerMlp>,
}

impl Hyper {
    pub(crate) fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        config.causal()?;
        let family = config.choice_or(&["model_type"], "mixtral", FAMILIES)?;
        let defaults = family.defaults();
        let heads = config.heads(defaults.heads)?;
        let n_ctx = config.size_or(&["max_position_embeddings"], defaults.n_ctx)?;
        let d_mlp = config.size_or(&["intermediate_size"], defaults.d_mlp)?;
        let n_layers = config.size_or(&["num_hidden_layers"], defaults.n_layers)?;
        Ok(Self {
            family,
            d_vocab: config.size_or(&["vocab_size"], defaults.d_vocab)?,
            d_mlp,
            d_expert: match family {
                Family::Qwen3 => config.size_or(&["moe_intermediate_size"], 768)?,
                Family::Mixtral | Family::Olmoe => d_mlp,
            },
            heads,
            n_ctx,
            eps: config.number_or(&["rms_norm_eps"], defaults.eps)?,
            activation: config.activation_or(&["hidden_act"], "silu")?,
            rotary: config.rotary(
                RotaryKeys {
                    default_theta: defaults.theta,
                    ..RotaryKeys::USUAL
                },
                heads.d_head,
                n_ctx,
            )?,
            mask: mask(config, family)?,
            clip_qkv: match family {
                Family::Olmoe => config.optional_number(&["clip_qkv"])?,
                Family::Mixtral | Family::Qwen3 => None,
            },
            biased: match family {
                Family::Mixtral => false,
                Family::Olmoe | Family::Qwen3 => config.flag_or(&["attention_bias"], false)?,
            },
            n_experts: config.size_or(&defaults.experts_keys, defaults.n_experts)?,
            top_k: config.size_or(&["num_experts_per_tok"], defaults.top_k)?,
            renormalise: renormalise(config, family)?,
            tied: config.flag_or(&["tie_word_embeddings"], false)?,
            layers: layers(config, family, n_layers)?,
        })
    }
}

/// The same on every layer.
fn mask(config: &ConfigReader, family: Family) -> Result<Mask, ConfigError> {
    let window = match family {
        Family::Mixtral => config.optional_size(&["sliding_window"])?,
        Family::Olmoe => {
            config.neutral(&["sliding_window"]);
            None
        }
        Family::Qwen3 => {
            // HF's class has one mask for all layers, and does not read it.
            config.neutral(&["max_window_layers"]);
            let used = config.flag_or(&["use_sliding_window"], false)?;
            let window =
                config.unless_null("sliding_window", |names| config.size_or(names, 4096))?;
            window.filter(|_| used)
        }
    };
    Ok(window.map_or(Mask::CAUSAL, Mask::sliding))
}

fn renormalise(config: &ConfigReader, family: Family) -> Result<Renormalise, ConfigError> {
    let divides = match family {
        Family::Mixtral => true,
        Family::Olmoe | Family::Qwen3 => config.flag_or(&["norm_topk_prob"], false)?,
    };
    Ok(if divides {
        Renormalise::Yes
    } else {
        Renormalise::No
    })
}

fn layers(
    config: &ConfigReader,
    family: Family,
    n_layers: usize,
) -> Result<Vec<LayerMlp>, ConfigError> {
    if family != Family::Qwen3 {
        return Ok(vec![LayerMlp::Sparse; n_layers]);
    }
    let dense = dense_layers(config)?;
    let step = config.size_or(&["decoder_sparse_step"], 1)?;
    let of_layer = |layer: usize| {
        if dense.contains(&layer) || !(layer + 1).is_multiple_of(step) {
            LayerMlp::Dense
        } else {
            LayerMlp::Sparse
        }
    };
    Ok((0..n_layers).map(of_layer).collect())
}

fn dense_layers(config: &ConfigReader) -> Result<Vec<usize>, ConfigError> {
    let key = "mlp_only_layers";
    let Some(value) = config.value(&[key]) else {
        return Ok(Vec::new());
    };
    let index = |value: &Value| usize::try_from(value.as_u64()?).ok();
    value
        .as_array()
        .and_then(|list| list.iter().map(index).collect())
        .ok_or_else(|| ConfigError::new(key, "a list of layers", value.to_string()))
}
