//! From GPT-NeoX's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, FusedHeads, Heads, InnerModel, LayerSpec,
    MlpNames, MlpSpec, ModelSpec, NormSpec, PositionSpec, RotarySpec, StreamEnds, Wiring,
    config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, RotaryKeys};

/// The adapter for GPT-NeoX.
pub(crate) struct GptNeox;

impl ArchitectureAdapter for GptNeox {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "gpt_neox".into(),
            description: "GPT-NeoX and Pythia (GPTNeoXForCausalLM)".into(),
            model_types: vec!["gpt_neox".into()],
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("gpt_neox");

const ROTARY_KEYS: RotaryKeys = RotaryKeys {
    theta: "rotary_emb_base",
    partial: Some(("rotary_pct", 0.25)),
    ..RotaryKeys::USUAL
};

/// Keys without influence on the logits: training, and another head than the language model's.
const NEUTRAL: &[&str] = &["attention_dropout", "classifier_dropout", "hidden_dropout"];

/// What `config.json` says, with the defaults of HF's `GPTNeoXConfig`.
struct Hyper {
    d_vocab: usize,
    n_ctx: usize,
    n_layers: usize,
    heads: Heads,
    d_mlp: usize,
    rotary: RotarySpec,
    activation: Activation,
    eps: f64,
    wiring: Wiring,
    attention_bias: bool,
    tied: bool,
}

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        config.causal()?;
        let d_model = config.size_or(&["hidden_size"], 6144)?;
        let n_heads = config.size_or(&["num_attention_heads"], 64)?;
        let heads = ("num_attention_heads", n_heads);
        let d_head = config.d_head(("hidden_size", d_model), heads)?;
        let n_ctx = config.size_or(&["max_position_embeddings"], 2048)?;
        let is_parallel = config.flag_or(&["use_parallel_residual"], true)?;
        Ok(Self {
            d_vocab: config.size_or(&["vocab_size"], 50_432)?,
            n_ctx,
            n_layers: config.size_or(&["num_hidden_layers"], 44)?,
            heads: Heads::sharing(d_model, n_heads, d_head),
            d_mlp: config.size_or(&["intermediate_size"], 24_576)?,
            rotary: config.rotary(ROTARY_KEYS, d_head, n_ctx)?,
            activation: config.activation_or(&["hidden_act"], "gelu")?,
            eps: config.number_or(&["layer_norm_eps"], 1e-5)?,
            wiring: if is_parallel {
                Wiring::Parallel
            } else {
                Wiring::Sequential
            },
            attention_bias: config.flag_or(&["attention_bias"], true)?,
            tied: config.flag_or(&["tie_word_embeddings"], false)?,
        })
    }

    fn model(&self) -> ModelSpec {
        let ends = StreamEnds {
            inner: INNER,
            embedding: "embed_in",
            // As it is on disk, and in the module tree.
            head: &["embed_out.weight", "lm_head.weight"],
            ..StreamEnds::usual(self.d_vocab, self.heads.d_model, self.tied)
        };
        let layers = (0..self.n_layers).map(|index| self.layer(index)).collect();
        let final_norm = self.norm("final_layer_norm");
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
        let fused = self.fused(&attention);
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec {
            wiring: self.wiring,
            taps: fused.taps(),
            ..LayerSpec::sequential(
                INNER.module(&block),
                Branch::pre_norm(norm("input_layernorm"), self.attention(&attention, &fused)),
                Branch::pre_norm(norm("post_attention_layernorm"), mlp),
            )
        }
    }

    fn attention(&self, path: &str, fused: &FusedHeads) -> AttentionSpec {
        let d_model = self.heads.d_model;
        let out = INNER.linear(
            &format!("{path}.dense"),
            d_model,
            d_model,
            self.attention_bias,
        );
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
            ..fused.attention(out, INNER.module(path))
        }
    }

    fn fused(&self, attention: &str) -> FusedHeads {
        let path = format!("{attention}.query_key_value");
        let d_model = self.heads.d_model;
        FusedHeads {
            product: INNER.linear(&path, 3 * d_model, d_model, self.attention_bias),
            heads: self.heads,
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let names = MlpNames {
            input: "dense_h_to_4h",
            activation: "act",
            output: "dense_4h_to_h",
        };
        let sizes = [self.heads.d_model, self.d_mlp];
        let keys = ["intermediate_size", "hidden_act"];
        INNER.mlp(path, names, sizes, self.activation, true, &keys)
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["hidden_size", "layer_norm_eps"];
        INNER.layer_norm(path, self.heads.d_model, self.eps, &keys)
    }
}
