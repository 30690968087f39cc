//! From GPT-NeoX's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, Cut, DenseMlp, EmbeddingSpec, HfTap,
    InnerModel, LayerSpec, Mask, MlpSpec, ModelSpec, NormSpec, PositionSpec, ProjectionSpec,
    RotarySpec, TapStep, TensorSource, UnembedSpec, Wiring, config_keys,
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

/// Names of the head: on disk, and in the module tree.
const HEAD: [&str; 2] = ["embed_out.weight", "lm_head.weight"];

/// Keys without influence on the logits: training, and another head than the language model's.
const NEUTRAL: &[&str] = &["attention_dropout", "classifier_dropout", "hidden_dropout"];

/// What `config.json` says, with the defaults of HF's `GPTNeoXConfig`.
struct Hyper {
    d_vocab: usize,
    n_ctx: usize,
    d_model: usize,
    n_layers: usize,
    n_heads: usize,
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
        if !d_model.is_multiple_of(n_heads) {
            let expected = format!("a multiple of num_attention_heads = {n_heads}");
            return Err(ConfigError::new(
                "hidden_size",
                expected,
                d_model.to_string(),
            ));
        }
        let n_ctx = config.size_or(&["max_position_embeddings"], 2048)?;
        let is_parallel = config.flag_or(&["use_parallel_residual"], true)?;
        Ok(Self {
            d_vocab: config.size_or(&["vocab_size"], 50_432)?,
            n_ctx,
            d_model,
            n_layers: config.size_or(&["num_hidden_layers"], 44)?,
            n_heads,
            d_mlp: config.size_or(&["intermediate_size"], 24_576)?,
            rotary: config.rotary(ROTARY_KEYS, d_model / n_heads, n_ctx)?,
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

    fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }

    fn model(&self) -> ModelSpec {
        ModelSpec {
            architecture: "GPTNeoXForCausalLM".into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: Some(self.n_ctx),
            embedding: self.embedding(),
            layers: (0..self.n_layers).map(|index| self.layer(index)).collect(),
            final_norm: Some(self.norm("final_layer_norm")),
            unembed: self.unembed(),
            ignored_tensors: config_keys(&[
                "*.attention.bias",
                "*.attention.masked_bias",
                "*.attention.rotary_emb.inv_freq",
            ]),
        }
    }

    fn embedding(&self) -> EmbeddingSpec {
        let mut tokens = INNER.tensor("embed_in.weight", [self.d_vocab, self.d_model]);
        if self.tied {
            // HF ties in both directions.
            tokens.names.extend(HEAD.map(str::to_owned));
        }
        EmbeddingSpec {
            tokens,
            module: Some(INNER.module("embed_in")),
            scale: None,
            positions: None,
            norm: None,
            config_keys: config_keys(&["vocab_size", "hidden_size", "tie_word_embeddings"]),
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{block}.{name}"));
        let attention = format!("{block}.attention");
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec {
            wiring: self.wiring,
            attn: Some(Branch::pre_norm(
                norm("input_layernorm"),
                self.attention(&attention),
            )),
            mlp: Some(Branch::pre_norm(norm("post_attention_layernorm"), mlp)),
            module: Some(INNER.module(&block)),
            taps: [("attn.hook_q", 0), ("attn.hook_k", 1), ("attn.hook_v", 2)]
                .map(|(hook, nth)| (hook.to_owned(), self.tap_of_fused(&attention, nth)))
                .into(),
        }
    }

    fn attention(&self, path: &str) -> AttentionSpec {
        let part = |nth| self.part_of_fused(path, nth);
        let out = format!("{path}.dense");
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_heads,
            d_head: self.d_head(),
            q: part(0),
            k: part(1),
            v: part(2),
            o: INNER.linear(&out, self.d_model, self.d_model, self.attention_bias),
            clip_qkv: None,
            qk_norm: None,
            position: PositionSpec::Rotary(self.rotary.clone()),
            scale: 1.0 / (self.d_head() as f64).sqrt(),
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

    /// Queries, keys or values: the product yields `[n_heads, 3, d_head]`.
    fn part_of_fused(&self, path: &str, nth: usize) -> ProjectionSpec {
        let (heads, width, d_head) = (self.n_heads, self.d_model, self.d_head());
        let slice = Cut::Slice {
            dim: 1,
            start: nth,
            len: 1,
        };
        let shaped = |shape: &[usize]| Cut::Reshape {
            shape: shape.to_vec(),
        };
        let path = format!("{path}.query_key_value");
        let fused = INNER.linear(&path, 3 * width, width, self.attention_bias);
        ProjectionSpec {
            weight: fused
                .weight
                .cut(shaped(&[heads, 3, d_head, width]))
                .cut(slice.clone())
                .cut(shaped(&[width, width])),
            bias: fused.bias.map(|bias| {
                bias.cut(shaped(&[heads, 3, d_head]))
                    .cut(slice)
                    .cut(shaped(&[width]))
            }),
            tap: None,
        }
    }

    /// The heads come apart before queries, keys and values do.
    fn tap_of_fused(&self, path: &str, nth: usize) -> HfTap {
        let sizes = vec![self.n_heads, 3, self.d_head()];
        HfTap::output(INNER.module(&format!("{path}.query_key_value")))
            .step(TapStep::Split { sizes })
            .step(TapStep::Select {
                dim: -2,
                index: nth,
            })
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

    fn unembed(&self) -> UnembedSpec {
        let shape = [self.d_vocab, self.d_model];
        // Where both are stored, HF keeps a tied head apart if it differs from the embedding.
        let mut weight = TensorSource::new(HEAD, shape);
        if self.tied {
            weight
                .names
                .extend(INNER.tensor("embed_in.weight", shape).names);
        }
        UnembedSpec {
            projection: ProjectionSpec {
                weight,
                bias: None,
                tap: Some(HfTap::output("lm_head")),
            },
            d_vocab_out: self.d_vocab,
            logit_scale: 1.0,
            softcap: None,
            config_keys: config_keys(&["vocab_size", "tie_word_embeddings"]),
        }
    }
}
