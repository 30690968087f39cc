//! From GPT-NeoX's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, DenseMlp, FusedHeads, HfTap, InnerModel,
    LayerSpec, Mask, MlpSpec, ModelSpec, NormSpec, PositionSpec, RotarySpec, StreamEnds, Wiring,
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
    partial: "rotary_pct",
    default_partial: 0.25,
    ..RotaryKeys::USUAL
};

/// Keys without influence on the logits: training, and another head than the language model's.
const NEUTRAL: &[&str] = &["attention_dropout", "classifier_dropout", "hidden_dropout"];

/// What `config.json` says, with the defaults of HF's `GPTNeoXConfig`.
struct Hyper {
    d_vocab: usize,
    n_ctx: usize,
    d_model: usize,
    n_layers: usize,
    n_heads: usize,
    d_head: usize,
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
            d_model,
            n_layers: config.size_or(&["num_hidden_layers"], 44)?,
            n_heads,
            d_head,
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
        ModelSpec {
            architecture: "GPTNeoXForCausalLM".into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: Some(self.n_ctx),
            embedding: self.ends().embedding(),
            layers: (0..self.n_layers).map(|index| self.layer(index)).collect(),
            final_norm: Some(self.norm("final_layer_norm")),
            unembed: self.ends().unembed(),
            ignored_tensors: config_keys(&[
                "*.attention.bias",
                "*.attention.masked_bias",
                "*.attention.rotary_emb.inv_freq",
            ]),
        }
    }

    fn ends(&self) -> StreamEnds<'static> {
        StreamEnds {
            inner: INNER,
            embedding: "embed_in",
            // As it is on disk, and in the module tree.
            head: &["embed_out.weight", "lm_head.weight"],
            d_vocab: self.d_vocab,
            d_model: self.d_model,
            tied: self.tied,
            config_keys: &["vocab_size", "hidden_size", "tie_word_embeddings"],
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
            attn: Some(Branch::pre_norm(
                norm("input_layernorm"),
                self.attention(&attention, &fused),
            )),
            mlp: Some(Branch::pre_norm(norm("post_attention_layernorm"), mlp)),
            module: Some(INNER.module(&block)),
            taps: fused.taps(),
        }
    }

    fn attention(&self, path: &str, fused: &FusedHeads) -> AttentionSpec {
        let out = format!("{path}.dense");
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_heads,
            d_head: self.d_head,
            q: fused.part(0),
            k: fused.part(1),
            v: fused.part(2),
            o: INNER.linear(&out, self.d_model, self.d_model, self.attention_bias),
            clip_qkv: None,
            qk_norm: None,
            position: PositionSpec::Rotary(self.rotary.clone()),
            scale: 1.0 / (self.d_head as f64).sqrt(),
            softcap: None,
            mask: Mask::CAUSAL,
            sinks: None,
            module: Some(INNER.module(path)),
            port: AttentionPort::Interface,
            config_keys: config_keys(&[
                "num_attention_heads",
                "attention_bias",
                "rope_parameters",
                "rope_scaling",
                "rotary_pct",
                "rotary_emb_base",
            ]),
        }
    }

    fn fused(&self, attention: &str) -> FusedHeads {
        let path = format!("{attention}.query_key_value");
        FusedHeads {
            product: INNER.linear(&path, 3 * self.d_model, self.d_model, self.attention_bias),
            n_heads: self.n_heads,
            d_head: self.d_head,
            d_model: self.d_model,
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let project = |name: &str, outputs, inputs| {
            INNER.linear(&format!("{path}.{name}"), outputs, inputs, true)
        };
        DenseMlp {
            d_mlp: self.d_mlp,
            input: project("dense_h_to_4h", self.d_mlp, self.d_model),
            gate: None,
            output: project("dense_4h_to_h", self.d_model, self.d_mlp),
            activation: self.activation,
            module: Some(INNER.module(path)),
            post_tap: Some(HfTap::output(INNER.module(&format!("{path}.act")))),
            config_keys: config_keys(&["intermediate_size", "hidden_act"]),
        }
    }

    fn norm(&self, path: &str) -> NormSpec {
        INNER.layer_norm(
            path,
            self.d_model,
            self.eps,
            &["hidden_size", "layer_norm_eps"],
        )
    }
}
