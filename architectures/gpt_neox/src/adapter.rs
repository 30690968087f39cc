//! From GPT-NeoX's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, Heads, InnerModel, LayerSpec, MlpNames, MlpSpec,
    ModelSpec, NormSpec, PositionSpec, RotarySpec, StreamEnds, Wiring, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, RotaryKeys};

/// The adapter for GPT-NeoX.
pub(crate) struct GptNeox;

impl ArchitectureAdapter for GptNeox {
    fn info(&self) -> ArchitectureInfo {
        let description = "GPT-NeoX and Pythia (GPTNeoXForCausalLM)";
        ArchitectureInfo::new("gpt_neox", description, &["gpt_neox"])
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("gpt_neox");

const MLP: MlpNames<'_> = MlpNames::new("dense_h_to_4h", "act", "dense_4h_to_h");

const ROTARY: RotaryKeys = RotaryKeys {
    theta: "rotary_emb_base",
    partial: Some(("rotary_pct", 0.25)),
    ..RotaryKeys::USUAL
};

/// What `config.json` says, with the defaults of HF's `GPTNeoXConfig`.
struct Hyper {
    ends: StreamEnds<'static>,
    n_ctx: usize,
    n_layers: usize,
    heads: Heads,
    d_mlp: usize,
    rotary: RotarySpec,
    activation: Activation,
    eps: f64,
    wiring: Wiring,
    attention_bias: bool,
}

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.causal()?;
        let heads =
            config.sharing_heads((&["hidden_size"], 6144), (&["num_attention_heads"], 64))?;
        let n_ctx = config.size_or(&["max_position_embeddings"], 2048)?;
        Ok(Self {
            ends: StreamEnds {
                inner: INNER,
                embedding: "embed_in",
                // As it is on disk, and in the module tree.
                head: &["embed_out.weight", "lm_head.weight"],
                ..config.stream_ends(50_432, heads.d_model, false)?
            },
            n_ctx,
            n_layers: config.size_or(&["num_hidden_layers"], 44)?,
            heads,
            d_mlp: config.size_or(&["intermediate_size"], 24_576)?,
            rotary: config.rotary(ROTARY, heads.d_head, n_ctx)?,
            activation: config.activation_or(&["hidden_act"], "gelu")?,
            eps: config.number_or(&["layer_norm_eps"], 1e-5)?,
            wiring: config.either(
                &["use_parallel_residual"],
                true,
                [Wiring::Parallel, Wiring::Sequential],
            )?,
            attention_bias: config.flag_or(&["attention_bias"], true)?,
        })
    }

    fn model(&self) -> ModelSpec {
        let layers = (0..self.n_layers).map(|index| self.layer(index)).collect();
        let (ends, final_norm) = (&self.ends, self.norm("final_layer_norm"));
        ModelSpec {
            ignored_tensors: config_keys(&[
                "*.attention.bias",
                "*.attention.masked_bias",
                "*.attention.rotary_emb.inv_freq",
            ]),
            ..ends.model("GPTNeoXForCausalLM", Some(self.n_ctx), layers, final_norm)
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{block}.{name}"));
        let attention = format!("{block}.attention");
        let (products, taps) = INNER.fused_attention(&attention, self.heads, self.attention_bias);
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec {
            wiring: self.wiring,
            taps,
            ..LayerSpec::sequential(
                INNER.module(&block),
                Branch::pre_norm(norm("input_layernorm"), self.attention(products)),
                Branch::pre_norm(norm("post_attention_layernorm"), mlp),
            )
        }
    }

    fn attention(&self, products: AttentionSpec) -> AttentionSpec {
        AttentionSpec {
            position: PositionSpec::Rotary(self.rotary.clone()),
            config_keys: config_keys(&[
                "num_attention_heads",
                "attention_bias",
                "rope_parameters",
                "rope_scaling",
                "rotary_pct",
                "rotary_emb_base",
            ]),
            ..products
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let sizes = [self.heads.d_model, self.d_mlp];
        let keys = ["intermediate_size", "hidden_act"];
        INNER.mlp(path, MLP, sizes, self.activation, true, &keys)
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["hidden_size", "layer_norm_eps"];
        INNER.layer_norm(path, self.heads.d_model, self.eps, &keys)
    }
}
