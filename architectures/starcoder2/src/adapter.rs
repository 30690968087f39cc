//! From StarCoder2's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, Heads, InnerModel, LayerSpec, Mask, MlpNames,
    MlpSpec, ModelSpec, NormSpec, PositionSpec, RotarySpec, StreamEnds, config_keys,
};
use tlbench_sdk::{
    ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, HeadDefaults, HeadWidth,
    RotaryKeys,
};

/// The adapter for StarCoder2.
pub(crate) struct Starcoder2;

impl ArchitectureAdapter for Starcoder2 {
    fn info(&self) -> ArchitectureInfo {
        let description = "StarCoder2 (Starcoder2ForCausalLM)";
        ArchitectureInfo::new("starcoder2", description, &["starcoder2"])
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("model");

const MLP: MlpNames<'_> = MlpNames::new("c_fc", "act", "c_proj");

const HEADS: HeadDefaults = HeadDefaults {
    d_model: 3072,
    n_heads: 24,
    n_kv_heads: Some(2),
    d_head: HeadWidth::ShareRoundedDown,
};

/// What `config.json` says, with the defaults of HF's `Starcoder2Config`.
struct Hyper {
    ends: StreamEnds<'static>,
    d_mlp: usize,
    n_layers: usize,
    n_ctx: usize,
    heads: Heads,
    rotary: RotarySpec,
    mask: Mask,
    activation: Activation,
    eps: f64,
    bias: bool,
}

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.causal()?;
        let heads = config.heads(HEADS)?;
        let n_ctx = config.size_or(&["max_position_embeddings"], 4096)?;
        Ok(Self {
            ends: config.stream_ends(49_152, heads.d_model, true)?,
            d_mlp: config.size_or(&["intermediate_size"], 12_288)?,
            n_layers: config.size_or(&["num_hidden_layers"], 30)?,
            n_ctx,
            heads,
            rotary: config.rotary(RotaryKeys::USUAL, heads.d_head, n_ctx)?,
            mask: Mask::windowed(config.sliding_window(None)?),
            activation: config.activation_or(&["hidden_act"], "gelu_pytorch_tanh")?,
            eps: config.number_or(&["norm_epsilon"], 1e-5)?,
            bias: config.flag_or(&["use_bias"], true)?,
        })
    }

    fn model(&self) -> ModelSpec {
        let layers = (0..self.n_layers).map(|index| self.layer(index)).collect();
        let (n_ctx, final_norm) = (Some(self.n_ctx), self.norm("norm"));
        self.ends
            .model("Starcoder2ForCausalLM", n_ctx, layers, final_norm)
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{block}.{name}"));
        let attention = self.attention(&format!("{block}.self_attn"));
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec::sequential(
            INNER.module(&block),
            Branch::pre_norm(norm("input_layernorm"), attention),
            Branch::pre_norm(norm("post_attention_layernorm"), mlp),
        )
    }

    fn attention(&self, path: &str) -> AttentionSpec {
        AttentionSpec {
            position: PositionSpec::Rotary(self.rotary.clone()),
            mask: self.mask,
            config_keys: config_keys(&[
                "num_attention_heads",
                "num_key_value_heads",
                "head_dim",
                "use_bias",
                "rope_parameters",
                "sliding_window",
            ]),
            ..INNER.attention(path, self.heads, self.bias.into())
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let sizes = [self.heads.d_model, self.d_mlp];
        let keys = ["intermediate_size", "hidden_act", "use_bias"];
        INNER.mlp(path, MLP, sizes, self.activation, self.bias, &keys)
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["hidden_size", "norm_epsilon"];
        INNER.layer_norm(path, self.heads.d_model, self.eps, &keys)
    }
}
