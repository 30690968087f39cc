//! From Gemma's `config.json` to its spec.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    AttentionSpec, Branch, DenseMlp, EmbeddingScale, EmbeddingSpec, Extent, HfTap, InnerModel,
    LayerSpec, MlpSpec, ModelSpec, NormSpec, Port, TapStep, UnembedSpec, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

use crate::hyper::{Generation, Hyper, View};

/// The adapter for all generations of Gemma.
pub(crate) struct Gemma;

impl ArchitectureAdapter for Gemma {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo::new(
            "gemma",
            "Gemma 1 to 3 (GemmaForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM of text)",
            &["gemma", "gemma2", "gemma3_text"],
        )
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("model");

impl Hyper {
    fn model(&self) -> ModelSpec {
        let layers = self.layers.iter().enumerate();
        let layers = layers.map(|(index, view)| self.layer(index, view));
        let final_norm = self.norm("norm", self.heads.d_model);
        let class = self.generation.class();
        ModelSpec {
            embedding: self.embedding(),
            unembed: self.unembed(),
            ..self
                .ends
                .model(class, Some(self.n_ctx), layers.collect(), final_norm)
        }
    }

    fn embedding(&self) -> EmbeddingSpec {
        EmbeddingSpec {
            scale: Some(EmbeddingScale {
                value: (self.heads.d_model as f64).sqrt(),
                rounded_to_weights: true,
            }),
            ..self.ends.embedding()
        }
    }

    fn layer(&self, index: usize, view: &View) -> LayerSpec {
        let path = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{path}.{name}"), self.heads.d_model);
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
            taps: self.taps(&format!("{path}.self_attn")),
            ..LayerSpec::sequential(INNER.module(&path), attn, mlp)
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
            HfTap::new(INNER.module(&format!("{path}.{norm}")), port)
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
        let norm = |name: &str, width| self.norm(&format!("{path}.{name}"), width);
        let is_normed = self.generation == Generation::Third;
        AttentionSpec {
            qk_norm: is_normed.then(|| self.heads.norms(Extent::Head, norm)),
            position: view.position.clone(),
            scale: 1.0 / self.query_scalar.sqrt(),
            softcap: self.score_cap,
            mask: view.mask,
            config_keys: self.attention_keys(),
            ..INNER.attention(path, self.heads, self.biased.into())
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
        let sizes = [self.heads.d_model, self.d_mlp];
        INNER.gated_mlp(path, sizes, self.activation, false, &keys)
    }

    /// Stored around 0, used around 1.
    fn norm(&self, path: &str, width: usize) -> NormSpec {
        NormSpec {
            gain_offset: 1.0,
            ..INNER.rms_norm(path, width, self.eps, &["hidden_size", "rms_norm_eps"])
        }
    }

    fn unembed(&self) -> UnembedSpec {
        let mut unembed = self.ends.unembed();
        unembed.softcap = self.logit_cap;
        if self.logit_cap.is_some() {
            unembed.config_keys.push("final_logit_softcapping".into());
        }
        unembed
    }
}
