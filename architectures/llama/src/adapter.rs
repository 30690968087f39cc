//! From the `config.json` of Llama and its kin to their spec.

use tlbench_sdk::spec::{
    Activation, AttentionBias, AttentionSpec, Branch, DenseMlp, Extent, HeadNorms, Heads,
    InnerModel, LayerSpec, Mask, MlpSpec, ModelSpec, NormSpec, PositionSpec, RotarySpec,
    StreamEnds,
};
use tlbench_sdk::{
    ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, LayerType, RotaryKeys,
};

use crate::family::{Family, HeadNorming, Windows};

/// The adapter for one of the families.
pub(crate) struct LlamaLike(pub(crate) Family);

impl ArchitectureAdapter for LlamaLike {
    fn info(&self) -> ArchitectureInfo {
        let family = &self.0;
        ArchitectureInfo::new(family.model_type, family.class, &[family.model_type])
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(&self.0, config)?.model())
    }
}

const INNER: InnerModel = InnerModel("model");

/// HF's default where a family has windows at all.
const DEFAULT_WINDOW: Option<usize> = Some(4096);

/// What `config.json` says, with the family's defaults.
struct Hyper<'a> {
    family: &'a Family,
    ends: StreamEnds<'static>,
    d_mlp: usize,
    n_ctx: usize,
    heads: Heads,
    /// One per layer.
    masks: Vec<Mask>,
    rotary: RotarySpec,
    activation: Activation,
    eps: f64,
    attention_bias: AttentionBias,
    mlp_bias: bool,
}

impl<'a> Hyper<'a> {
    fn read(family: &'a Family, config: &ConfigReader) -> Result<Self, ConfigError> {
        config.causal()?;
        let heads = config.heads(family.heads)?;
        let n_ctx = config.size_or(&["max_position_embeddings"], family.n_ctx)?;
        let n_layers = config.size_or(&["num_hidden_layers"], 32)?;
        Ok(Self {
            family,
            ends: config.stream_ends(family.d_vocab, heads.d_model, false)?,
            d_mlp: config.size_or(&["intermediate_size"], family.d_mlp)?,
            n_ctx,
            heads,
            masks: masks(family.windows, config, n_layers)?,
            rotary: config.rotary(RotaryKeys::USUAL, heads.d_head, n_ctx)?,
            activation: config.activation_or(&["hidden_act"], "silu")?,
            eps: config.number_or(&["rms_norm_eps"], 1e-6)?,
            attention_bias: AttentionBias {
                qkv: family.qkv_bias.read(config)?,
                o: family.o_bias.read(config)?,
            },
            mlp_bias: family.mlp_bias.read(config)?,
        })
    }

    fn model(&self) -> ModelSpec {
        let layers = (0..).zip(&self.masks);
        let layers = layers.map(|(n, &mask)| self.layer(n, mask)).collect();
        let final_norm = self.norm("norm", self.heads.d_model, "hidden_size");
        self.ends
            .model(self.family.class, Some(self.n_ctx), layers, final_norm)
    }

    fn layer(&self, index: usize, mask: Mask) -> LayerSpec {
        let block = format!("layers.{index}");
        let norm = |name: &str| {
            let path = format!("{block}.{name}");
            self.norm(&path, self.heads.d_model, "hidden_size")
        };
        let attention = self.attention(&format!("{block}.self_attn"), mask);
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec::sequential(
            INNER.module(&block),
            Branch::pre_norm(norm("input_layernorm"), attention),
            Branch::pre_norm(norm("post_attention_layernorm"), mlp),
        )
    }

    fn attention(&self, path: &str, mask: Mask) -> AttentionSpec {
        AttentionSpec {
            qk_norm: self.head_norms(path),
            position: PositionSpec::Rotary(self.rotary.clone()),
            mask,
            config_keys: self.attention_keys(),
            ..INNER.attention(path, self.heads, self.attention_bias)
        }
    }

    fn attention_keys(&self) -> Vec<String> {
        let own = ["num_attention_heads", "num_key_value_heads", "head_dim"];
        let windows: &[&str] = match self.family.windows {
            Windows::None => &[],
            Windows::EveryLayer => &["sliding_window"],
            Windows::Upper => &[
                "use_sliding_window",
                "sliding_window",
                "max_window_layers",
                "layer_types",
            ],
        };
        let keys = own
            .into_iter()
            .chain(self.family.o_bias.key())
            .chain(["rope_parameters", "rope_scaling", "rope_theta"])
            .chain(windows.iter().copied());
        keys.map(str::to_owned).collect()
    }

    fn head_norms(&self, path: &str) -> Option<HeadNorms> {
        let norm = |name: &str, width| self.norm(&format!("{path}.{name}"), width, "head_dim");
        let is_normed = self.family.head_norms == HeadNorming::BeforeRotary;
        is_normed.then(|| self.heads.norms(Extent::Head, norm))
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let keys = ["intermediate_size", "hidden_act"].into_iter();
        let keys: Vec<&str> = keys.chain(self.family.mlp_bias.key()).collect();
        let sizes = [self.heads.d_model, self.d_mlp];
        INNER.gated_mlp(path, sizes, self.activation, self.mlp_bias, &keys)
    }

    fn norm(&self, path: &str, width: usize, key: &str) -> NormSpec {
        INNER.rms_norm(path, width, self.eps, &[key, "rms_norm_eps"])
    }
}

fn masks(
    windows: Windows,
    config: &ConfigReader,
    n_layers: usize,
) -> Result<Vec<Mask>, ConfigError> {
    match windows {
        Windows::None => Ok(vec![Mask::CAUSAL; n_layers]),
        Windows::EveryLayer => {
            let window = config.sliding_window(DEFAULT_WINDOW)?;
            Ok(vec![Mask::windowed(window); n_layers])
        }
        Windows::Upper => {
            let window = config.sliding_window_in_use(DEFAULT_WINDOW)?;
            let first = config.count_or(&["max_window_layers"], 28)?;
            let by_index = |index| match window {
                Some(_) if index >= first => LayerType::Sliding,
                _ => LayerType::Full,
            };
            let types = config.layer_types(n_layers, by_index)?;
            types.into_iter().map(|kind| kind.mask(window)).collect()
        }
    }
}
