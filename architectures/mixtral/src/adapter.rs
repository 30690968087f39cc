//! From the `config.json` of a mixture of experts to its spec.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    AttentionPort, AttentionSpec, Branch, Extent, HeadNorm, HeadNorms, InnerModel, LayerSpec,
    MlpSpec, ModelSpec, NormOrder, NormSpec, PositionSpec, StreamEnds, Wiring, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

use crate::hyper::{Family, Hyper, LayerMlp};

/// The adapter for Mixtral and its like.
pub(crate) struct Mixtral;

impl ArchitectureAdapter for Mixtral {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "mixtral".into(),
            description: "Mixtral, OLMoE and Qwen3-MoE (MixtralForCausalLM, OlmoeForCausalLM, \
                          Qwen3MoeForCausalLM)"
                .into(),
            model_types: ["mixtral", "olmoe", "qwen3_moe"].map(String::from).into(),
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

pub(crate) const MODEL: InnerModel = InnerModel("model");

impl Hyper {
    fn model(&self) -> ModelSpec {
        let layers = self.layers.iter().enumerate();
        ModelSpec {
            architecture: self.family.class().into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: Some(self.n_ctx),
            embedding: self.ends().embedding(),
            layers: layers.map(|(index, &mlp)| self.layer(index, mlp)).collect(),
            final_norm: Some(self.norm("norm", self.d_model)),
            unembed: self.ends().unembed(),
            // Frequencies, which older releases saved as buffers.
            ignored_tensors: vec!["*.rotary_emb.inv_freq".into()],
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

    fn layer(&self, index: usize, mlp: LayerMlp) -> LayerSpec {
        let path = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{path}.{name}"), self.d_model);
        let mlp = match mlp {
            LayerMlp::Dense => MlpSpec::Dense(MODEL.gated_mlp(
                &format!("{path}.mlp"),
                [self.d_model, self.d_mlp],
                self.activation,
                false,
                &["hidden_size", "intermediate_size", "hidden_act"],
            )),
            LayerMlp::Sparse => MlpSpec::Moe(self.experts(&path)),
        };
        LayerSpec {
            wiring: Wiring::Sequential,
            attn: Some(Branch::pre_norm(
                norm("input_layernorm"),
                self.attention(&format!("{path}.self_attn")),
            )),
            mlp: Some(Branch::pre_norm(norm("post_attention_layernorm"), mlp)),
            module: Some(MODEL.module(&path)),
            taps: BTreeMap::new(),
        }
    }

    fn attention(&self, path: &str) -> AttentionSpec {
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
            clip_qkv: self.clip_qkv,
            qk_norm: self.head_norms(path),
            position: PositionSpec::Rotary(self.rotary.clone()),
            scale: 1.0 / (self.d_head as f64).sqrt(),
            softcap: None,
            mask: self.mask,
            sinks: None,
            module: Some(MODEL.module(path)),
            port: AttentionPort::Interface,
            config_keys: self.attention_keys(),
        }
    }

    fn head_norms(&self, path: &str) -> Option<HeadNorms> {
        let extent = match self.family {
            Family::Mixtral => return None,
            Family::Olmoe => Extent::AllHeads,
            Family::Qwen3 => Extent::Head,
        };
        let norm = |name: &str, heads: usize| {
            let width = match extent {
                Extent::Head => self.d_head,
                Extent::AllHeads => heads * self.d_head,
            };
            let norm = self.norm(&format!("{path}.{name}"), width);
            HeadNorm { norm, extent }
        };
        Some(HeadNorms {
            q: norm("q_norm", self.n_heads),
            k: norm("k_norm", self.n_kv_heads),
            order: NormOrder::BeforeRotary,
        })
    }

    fn attention_keys(&self) -> Vec<String> {
        let own: &[&str] = match self.family {
            Family::Mixtral => &["head_dim", "sliding_window"],
            Family::Olmoe => &["attention_bias", "clip_qkv"],
            Family::Qwen3 => &[
                "head_dim",
                "attention_bias",
                "use_sliding_window",
                "sliding_window",
            ],
        };
        let shared = [
            "hidden_size",
            "num_attention_heads",
            "num_key_value_heads",
            "rope_parameters",
        ];
        config_keys(&[&shared, own].concat())
    }

    fn norm(&self, path: &str, width: usize) -> NormSpec {
        MODEL.rms_norm(path, width, self.eps, &["hidden_size", "rms_norm_eps"])
    }
}
