//! What `config.json` says, with HF's defaults.

use tlbench_sdk::spec::{Activation, Heads, Mask, Renormalise, RotarySpec, StreamEnds};
use tlbench_sdk::{ConfigError, ConfigReader, RotaryKeys};

use crate::family::{Family, MIXTRAL, OLMOE, QWEN3, Sparse, Windows};

const FAMILIES: &[(&str, &Family)] = &[
    ("mixtral", &MIXTRAL),
    ("olmoe", &OLMOE),
    ("qwen3_moe", &QWEN3),
];

/// Keys without influence on the logits: of training alone.
const NEUTRAL: &[&str] = &[
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
    pub(crate) family: &'static Family,
    pub(crate) ends: StreamEnds<'static>,
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
    pub(crate) layers: Vec<LayerMlp>,
}

impl Hyper {
    pub(crate) fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        config.causal()?;
        let family = config.choice_or(&["model_type"], "mixtral", FAMILIES)?;
        let heads = config.heads(family.heads)?;
        let n_ctx = config.size_or(&["max_position_embeddings"], family.n_ctx)?;
        let rotary = RotaryKeys::with_theta("rope_theta", family.theta);
        let d_mlp = config.size_or(&["intermediate_size"], family.d_mlp)?;
        let n_layers = config.size_or(&["num_hidden_layers"], family.n_layers)?;
        Ok(Self {
            family,
            ends: config.stream_ends(family.d_vocab, heads.d_model, false)?,
            d_mlp,
            d_expert: match family.d_expert {
                Some((key, default)) => config.size_or(&[key], default)?,
                None => d_mlp,
            },
            heads,
            n_ctx,
            eps: config.number_or(&["rms_norm_eps"], family.eps)?,
            activation: config.activation_or(&["hidden_act"], "silu")?,
            rotary: config.rotary(rotary, heads.d_head, n_ctx)?,
            mask: Mask::windowed(window(config, family.windows)?),
            clip_qkv: match family.clip_qkv {
                Some(key) => config.optional_number(&[key])?,
                None => None,
            },
            biased: match family.bias {
                Some(key) => config.flag_or(&[key], false)?,
                None => false,
            },
            n_experts: config.size_or(&family.n_experts_keys, family.n_experts)?,
            top_k: config.size_or(&["num_experts_per_tok"], family.top_k)?,
            renormalise: match family.renormalise {
                Some(key) => config.either(&[key], false, [Renormalise::Yes, Renormalise::No])?,
                None => Renormalise::Yes,
            },
            layers: layers(config, family.sparse, n_layers)?,
        })
    }
}

fn window(config: &ConfigReader, windows: Windows) -> Result<Option<usize>, ConfigError> {
    match windows {
        Windows::None => {
            config.neutral(&["sliding_window"]);
            Ok(None)
        }
        Windows::EveryLayer => config.sliding_window(None),
        Windows::Asked => {
            // HF's class has one mask for all layers, and does not read it.
            config.neutral(&["max_window_layers"]);
            config.sliding_window_in_use(Some(4096))
        }
    }
}

fn layers(
    config: &ConfigReader,
    sparse: Sparse,
    n_layers: usize,
) -> Result<Vec<LayerMlp>, ConfigError> {
    let (dense, step) = match sparse {
        Sparse::EveryLayer => return Ok(vec![LayerMlp::Sparse; n_layers]),
        Sparse::Some => (
            config.layer_list(&["mlp_only_layers"])?,
            config.size_or(&["decoder_sparse_step"], 1)?,
        ),
    };
    let of_layer = |layer: usize| {
        if dense.contains(&layer) || !(layer + 1).is_multiple_of(step) {
            LayerMlp::Dense
        } else {
            LayerMlp::Sparse
        }
    };
    Ok((0..n_layers).map(of_layer).collect())
}
