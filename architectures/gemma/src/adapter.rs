//! From Gemma's `config.json` to its spec.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingScale, EmbeddingSpec, Extent,
    HeadNorm, HeadNorms, HfTap, InnerModel, LayerSpec, MlpSpec, ModelSpec, NormOrder, NormSpec,
    Port, StreamEnds, TapStep, UnembedSpec, Wiring, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

use crate::hyper::{Generation, Hyper, View};

/// The adapter for all generations of Gemma.
pub(crate) struct Gemma;

impl ArchitectureAdapter for Gemma {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "gemma".into(),
            description:
                "Gemma 1 to 3 (GemmaForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM of text)"
                    .into(),
            model_types: ["gemma", "gemma2", "gemma3_text"].map(String::from).into(),
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const MODEL: InnerModel = InnerModel("model");

impl Hyper {
    fn model(&self) -> ModelSpec {
        let layers = self.layers.iter().enumerate();
        ModelSpec {
            architecture: self.generation.class().into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: Some(self.n_ctx),
            embedding: self.embedding(),
            layers: layers
                .map(|(index, view)| self.layer(index, view))
                .collect(),
            final_norm: Some(self.norm("norm", self.d_model)),
            unembed: self.unembed(),
            // Frequencies, which older releases saved as buffers.
            ignored_tensors: vec!["*.rotary_emb.inv_freq".into()],
        }
    }

    fn embedding(&self) -> EmbeddingSpec {
        EmbeddingSpec {
            scale: Some(EmbeddingScale {
                value: (self.d_model as f64).sqrt(),
                rounded_to_weights: true,
            }),
            ..self.ends().embedding()
        }
    }

    fn ends(&self) -> StreamEnds<'static> {
        StreamEnds {
            inner: MODEL,
            embedding: "embed_tokens",
            head: &["lm_head.weight"],
            d_vocab: self.d_vocab,
            d_model: self.d_model,
            tied: self.tied,
            config_keys: &["vocab_size", "hidden_size", "tie_word_embeddings"],
        }
    }

    fn layer(&self, index: usize, view: &View) -> LayerSpec {
        let path = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{path}.{name}"), self.d_model);
        let attn = self.attention(&format!("{path}.self_attn"), view);
        let mlp = MlpSpec::Dense(self.mlp(&format!("{path}.mlp")));
        let (attn, mlp) = match self.generation {
            Generation::First => (
                Branch::pre_norm(norm("input_layernorm"), attn),
                Branch::pre_norm(norm("post_attention_layernorm"), mlp),
            ),
            Generation::Second | Generation::Third => (
                Branch {
                    output_norm: Some(norm("post_attention_layernorm")),
                    ..Branch::pre_norm(norm("input_layernorm"), attn)
                },
                Branch {
                    output_norm: Some(norm("post_feedforward_layernorm")),
                    ..Branch::pre_norm(norm("pre_feedforward_layernorm"), mlp)
                },
            ),
        };
        LayerSpec {
            wiring: Wiring::Sequential,
            attn: Some(attn),
            mlp: Some(mlp),
            module: Some(MODEL.module(&path)),
            taps: self.taps(&format!("{path}.self_attn")),
        }
    }

    /// Gemma 3 normalises heads that have moved ahead of the positions already.
    fn taps(&self, path: &str) -> BTreeMap<String, HfTap> {
        if self.generation != Generation::Third {
            return BTreeMap::new();
        }
        let ports = [
            ("hook_scale", Port::NormScale),
            ("hook_normalized", Port::NormNormalized),
        ];
        let tap = |norm: &str, port| {
            HfTap::new(MODEL.module(&format!("{path}.{norm}")), port)
                .step(TapStep::Transpose { a: 1, b: 2 })
        };
        ["q_norm", "k_norm"]
            .into_iter()
            .flat_map(|norm| {
                ports.map(|(hook, port)| (format!("attn.{norm}.{hook}"), tap(norm, port)))
            })
            .collect()
    }

    fn attention(&self, path: &str, view: &View) -> AttentionSpec {
        let linear = |name: &str, outputs, inputs| {
            MODEL.linear(&format!("{path}.{name}"), outputs, inputs, self.biased)
        };
        let (queries, keys) = (self.n_heads * self.d_head, self.n_kv_heads * self.d_head);
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head: self.d_head,
            q: linear("q_proj", queries, self.d_model),
            k: linear("k_proj", keys, self.d_model),
            v: linear("v_proj", keys, self.d_model),
            o: linear("o_proj", self.d_model, queries),
            clip_qkv: None,
            qk_norm: (self.generation == Generation::Third).then(|| HeadNorms {
                q: self.head_norm(&format!("{path}.q_norm")),
                k: self.head_norm(&format!("{path}.k_norm")),
                order: NormOrder::BeforeRotary,
            }),
            position: view.position.clone(),
            scale: 1.0 / self.query_scalar.sqrt(),
            softcap: self.score_cap,
            mask: view.mask,
            sinks: None,
            module: Some(MODEL.module(path)),
            port: AttentionPort::Interface,
            config_keys: self.attention_keys(),
        }
    }

    fn attention_keys(&self) -> Vec<String> {
        let mut keys = config_keys(&[
            "hidden_size",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "attention_bias",
            "rope_parameters",
        ]);
        keys.extend(match self.generation {
            Generation::First => Vec::new(),
            Generation::Second => config_keys(&[
                "query_pre_attn_scalar",
                "attn_logit_softcapping",
                "layer_types",
                "sliding_window",
            ]),
            Generation::Third => config_keys(&[
                "query_pre_attn_scalar",
                "layer_types",
                "sliding_window_pattern",
                "sliding_window",
            ]),
        });
        keys
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let activation = match self.generation {
            Generation::First => "hidden_act",
            Generation::Second | Generation::Third => "hidden_activation",
        };
        let keys = ["hidden_size", "intermediate_size", activation];
        let sizes = [self.d_model, self.d_mlp];
        MODEL.gated_mlp(path, sizes, self.activation, false, &keys)
    }

    fn head_norm(&self, path: &str) -> HeadNorm {
        HeadNorm {
            norm: self.norm(path, self.d_head),
            extent: Extent::Head,
        }
    }

    /// Stored around 0, used around 1.
    fn norm(&self, path: &str, width: usize) -> NormSpec {
        NormSpec {
            gain_offset: 1.0,
            ..MODEL.rms_norm(path, width, self.eps, &["hidden_size", "rms_norm_eps"])
        }
    }

    fn unembed(&self) -> UnembedSpec {
        let mut unembed = self.ends().unembed();
        unembed.softcap = self.logit_cap;
        if self.logit_cap.is_some() {
            unembed.config_keys.push("final_logit_softcapping".into());
        }
        unembed
    }
}
