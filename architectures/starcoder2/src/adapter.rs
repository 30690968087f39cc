//! From StarCoder2's `config.json` to its spec.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, DenseMlp, HfTap, InnerModel, LayerSpec, Mask,
    MlpSpec, ModelSpec, NormSpec, PositionSpec, RotaryScaling, RotarySpec, StreamEnds, Wiring,
    config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, RotaryKeys};

/// The adapter for StarCoder2.
pub(crate) struct Starcoder2;

impl ArchitectureAdapter for Starcoder2 {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "starcoder2".into(),
            description: "StarCoder2 (Starcoder2ForCausalLM)".into(),
            model_types: vec!["starcoder2".into()],
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("model");

/// Keys without influence on the logits: of training alone.
const NEUTRAL: &[&str] = &["attention_dropout", "embedding_dropout", "residual_dropout"];

struct Hyper {
    d_vocab: usize,
    d_model: usize,
    d_mlp: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    d_head: usize,
    n_ctx: usize,
    rotary: RotarySpec,
    mask: Mask,
    activation: Activation,
    eps: f64,
    bias: bool,
    tied: bool,
}

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        config.causal()?;
        let d_model = config.size_or(&["hidden_size"], 3072)?;
        let n_heads = config.size_or(&["num_attention_heads"], 24)?;
        let d_head = config.size_or(&["head_dim"], d_model / n_heads)?;
        let n_ctx = config.size_or(&["max_position_embeddings"], 4096)?;
        let window = config.optional_size(&["sliding_window"])?;
        Ok(Self {
            d_vocab: config.size_or(&["vocab_size"], 49152)?,
            d_model,
            d_mlp: config.size_or(&["intermediate_size"], 12288)?,
            n_layers: config.size_or(&["num_hidden_layers"], 30)?,
            n_heads,
            n_kv_heads: config.size_or(&["num_key_value_heads"], 2)?,
            d_head,
            n_ctx,
            rotary: config.rotary(RotaryKeys::USUAL, d_head, n_ctx)?,
            mask: window.map_or(Mask::CAUSAL, Mask::sliding),
            activation: config.activation_or(&["hidden_act"], "gelu_pytorch_tanh")?,
            eps: config.number_or(&["norm_epsilon"], 1e-5)?,
            bias: config.flag_or(&["use_bias"], true)?,
            tied: config.flag_or(&["tie_word_embeddings"], true)?,
        })
    }

    fn model(&self) -> ModelSpec {
        ModelSpec {
            architecture: "Starcoder2ForCausalLM".into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: match self.rotary.scaling {
                RotaryScaling::Dynamic { .. } => None,
                _ => Some(self.n_ctx),
            },
            embedding: self.ends().embedding(),
            layers: (0..self.n_layers).map(|index| self.layer(index)).collect(),
            final_norm: Some(self.norm("norm")),
            unembed: self.ends().unembed(),
            ignored_tensors: vec!["*.rotary_emb.inv_freq".into()],
        }
    }

    fn ends(&self) -> StreamEnds<'static> {
        StreamEnds {
            inner: INNER,
            embedding: "embed_tokens",
            head: &["lm_head.weight"],
            d_vocab: self.d_vocab,
            d_model: self.d_model,
            tied: self.tied,
            config_keys: &["vocab_size", "hidden_size", "tie_word_embeddings"],
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{block}.{name}"));
        let attention = self.attention(&format!("{block}.self_attn"));
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec {
            wiring: Wiring::Sequential,
            attn: Some(Branch::pre_norm(norm("input_layernorm"), attention)),
            mlp: Some(Branch::pre_norm(norm("post_attention_layernorm"), mlp)),
            module: Some(INNER.module(&block)),
            taps: BTreeMap::new(),
        }
    }

    fn attention(&self, path: &str) -> AttentionSpec {
        let linear = |name: &str, outputs, inputs| {
            INNER.linear(&format!("{path}.{name}"), outputs, inputs, self.bias)
        };
        let (d_q, d_kv) = (self.n_heads * self.d_head, self.n_kv_heads * self.d_head);
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head: self.d_head,
            q: linear("q_proj", d_q, self.d_model),
            k: linear("k_proj", d_kv, self.d_model),
            v: linear("v_proj", d_kv, self.d_model),
            o: linear("o_proj", self.d_model, d_q),
            clip_qkv: None,
            qk_norm: None,
            position: PositionSpec::Rotary(self.rotary.clone()),
            scale: 1.0 / (self.d_head as f64).sqrt(),
            softcap: None,
            mask: self.mask,
            sinks: None,
            module: Some(INNER.module(path)),
            port: AttentionPort::Interface,
            config_keys: config_keys(&[
                "num_attention_heads",
                "num_key_value_heads",
                "head_dim",
                "use_bias",
                "rope_parameters",
                "sliding_window",
            ]),
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let linear = |name: &str, outputs, inputs| {
            INNER.linear(&format!("{path}.{name}"), outputs, inputs, self.bias)
        };
        DenseMlp {
            d_mlp: self.d_mlp,
            input: linear("c_fc", self.d_mlp, self.d_model),
            gate: None,
            output: linear("c_proj", self.d_model, self.d_mlp),
            activation: self.activation,
            module: Some(INNER.module(path)),
            post_tap: Some(HfTap::output(INNER.module(&format!("{path}.act")))),
            config_keys: config_keys(&["intermediate_size", "hidden_act", "use_bias"]),
        }
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["hidden_size", "norm_epsilon"];
        INNER.layer_norm(path, self.d_model, self.eps, &keys)
    }
}
