//! What `config.json` says, with HF's defaults.

use tlbench_sdk::spec::{Activation, Heads, Mask, PositionSpec, StreamEnds};
use tlbench_sdk::{ConfigError, ConfigReader, HeadDefaults, HeadWidth, LayerType, RotaryKeys};

/// Which of HF's classes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    First,
    Second,
    Third,
}

const GENERATIONS: &[(&str, Generation)] = &[
    ("gemma", Generation::First),
    ("gemma2", Generation::Second),
    ("gemma3_text", Generation::Third),
];

/// HF's defaults, where the generations differ.
struct Defaults {
    d_vocab: usize,
    d_mlp: usize,
    n_layers: usize,
    heads: HeadDefaults,
    n_ctx: usize,
}

impl Generation {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::First => "GemmaForCausalLM",
            Self::Second => "Gemma2ForCausalLM",
            Self::Third => "Gemma3ForCausalLM",
        }
    }

    const fn defaults(self) -> Defaults {
        let second = Defaults {
            d_vocab: 256_000,
            d_mlp: 9216,
            n_layers: 26,
            heads: HeadDefaults {
                d_model: 2304,
                n_heads: 8,
                n_kv_heads: Some(4),
                d_head: HeadWidth::Fixed(256),
            },
            n_ctx: 8192,
        };
        match self {
            Self::First => Defaults {
                d_mlp: 24576,
                n_layers: 28,
                heads: HeadDefaults {
                    d_model: 3072,
                    n_heads: 16,
                    n_kv_heads: Some(16),
                    d_head: HeadWidth::Fixed(256),
                },
                ..second
            },
            Self::Second => second,
            Self::Third => Defaults {
                d_vocab: 262_208,
                n_ctx: 131_072,
                ..second
            },
        }
    }
}

/// Keys without influence on the logits. `cache_implementation` says how keys are kept, and `_sliding_window_pattern` is
/// what HF writes beside the layer types that it made from it.
const NEUTRAL: &[&str] = &["_sliding_window_pattern", "cache_implementation"];

/// Positions and mask of one layer.
pub(crate) struct View {
    pub(crate) position: PositionSpec,
    pub(crate) mask: Mask,
}

/// What a model is made from.
pub(crate) struct Hyper {
    pub(crate) generation: Generation,
    pub(crate) ends: StreamEnds<'static>,
    pub(crate) d_mlp: usize,
    pub(crate) heads: Heads,
    pub(crate) n_ctx: usize,
    pub(crate) eps: f64,
    pub(crate) activation: Activation,
    /// The root of it divides the scores.
    pub(crate) query_scalar: f64,
    pub(crate) score_cap: Option<f64>,
    pub(crate) logit_cap: Option<f64>,
    pub(crate) biased: bool,
    pub(crate) layers: Vec<View>,
}

impl Hyper {
    pub(crate) fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        let generation = config.choice_or(&["model_type"], "gemma", GENERATIONS)?;
        let defaults = generation.defaults();
        config.causal()?;
        config.refuse_true(
            "use_bidirectional_attention",
            "as a language model sees what came before",
        )?;
        let heads = config.heads(defaults.heads)?;
        if generation != Generation::First {
            // No dimension follows from it, but HF insists.
            let (width, queries) = ("hidden_size", "num_attention_heads");
            config.d_head((width, heads.d_model), (queries, heads.n_heads))?;
        }
        let n_ctx = config.size_or(&["max_position_embeddings"], defaults.n_ctx)?;
        let n_layers = config.size_or(&["num_hidden_layers"], defaults.n_layers)?;
        let query_scalar = match generation {
            Generation::First => heads.d_head as f64,
            _ => config.number_or(&["query_pre_attn_scalar"], 256.0)?,
        };
        Ok(Self {
            generation,
            ends: config.stream_ends(defaults.d_vocab, heads.d_model, true)?,
            d_mlp: config.size_or(&["intermediate_size"], defaults.d_mlp)?,
            heads,
            n_ctx,
            eps: config.number_or(&["rms_norm_eps"], 1e-6)?,
            activation: activation(config, generation)?,
            query_scalar,
            score_cap: score_cap(config, generation)?,
            logit_cap: logit_cap(config, generation)?,
            biased: config.flag_or(&["attention_bias"], false)?,
            layers: views(config, generation, n_layers, heads.d_head, n_ctx)?,
        })
    }
}

fn activation(config: &ConfigReader, generation: Generation) -> Result<Activation, ConfigError> {
    if generation != Generation::First {
        return config.activation_or(&["hidden_activation"], "gelu_pytorch_tanh");
    }
    config.neutral(&["hidden_activation"]);
    // The original releases say `gelu`, and HF takes it for what they mean.
    Ok(
        match config.activation_or(&["hidden_act"], "gelu_pytorch_tanh")? {
            Activation::Gelu => Activation::GeluTanh,
            other => other,
        },
    )
}

fn score_cap(config: &ConfigReader, generation: Generation) -> Result<Option<f64>, ConfigError> {
    let key = "attn_logit_softcapping";
    if generation == Generation::Second {
        return config.unless_null(key, |names| config.number_or(names, 50.0));
    }
    config.neutral(&[key]);
    Ok(None)
}

fn logit_cap(config: &ConfigReader, generation: Generation) -> Result<Option<f64>, ConfigError> {
    let key = "final_logit_softcapping";
    match generation {
        Generation::First => {
            config.neutral(&[key]);
            Ok(None)
        }
        Generation::Second => config.unless_null(key, |names| config.number_or(names, 30.0)),
        Generation::Third => config.optional_number(&[key]),
    }
}

/// What each layer sees, and where it takes its positions from.
fn views(
    config: &ConfigReader,
    generation: Generation,
    n_layers: usize,
    d_head: usize,
    n_ctx: usize,
) -> Result<Vec<View>, ConfigError> {
    if generation == Generation::First {
        let position = config.rotary(RotaryKeys::USUAL, d_head, n_ctx)?;
        return Ok((0..n_layers)
            .map(|_| View {
                position: PositionSpec::Rotary(position.clone()),
                mask: Mask::CAUSAL,
            })
            .collect());
    }
    let period = match generation {
        Generation::Third => config.size_or(&["sliding_window_pattern"], 6)?,
        _ => 2,
    };
    let types = config.layer_types(n_layers, |layer| {
        if (layer + 1).is_multiple_of(period) {
            LayerType::Full
        } else {
            LayerType::Sliding
        }
    })?;
    let window = config.sliding_window(Some(4096))?;
    types
        .into_iter()
        .map(|kind| {
            let position = match (generation, kind) {
                (Generation::Third, LayerType::Full) => {
                    let keys = RotaryKeys::with_theta("rope_theta", 1_000_000.0);
                    config.rotary_of(kind, keys, d_head, n_ctx)?
                }
                (Generation::Third, LayerType::Sliding) => {
                    let keys = RotaryKeys::with_theta("rope_local_base_freq", 10_000.0);
                    config.rotary_of(kind, keys, d_head, n_ctx)?
                }
                _ => config.rotary(RotaryKeys::USUAL, d_head, n_ctx)?,
            };
            Ok(View {
                position: PositionSpec::Rotary(position),
                mask: kind.mask(window)?,
            })
        })
        .collect()
}
