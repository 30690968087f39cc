//! From the `config.json` of a mixture of experts to its spec.

use tlbench_sdk::spec::{
    AttentionSpec, Branch, Extent, HeadNorms, InnerModel, LayerSpec, MlpSpec, ModelSpec, NormSpec,
    PositionSpec, StreamEnds, config_keys,
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
        let ends = StreamEnds::usual(self.d_vocab, self.heads.d_model, self.tied);
        let layers = self.layers.iter().enumerate();
        let layers = layers.map(|(index, &mlp)| self.layer(index, mlp));
        let final_norm = self.norm("norm", self.heads.d_model);
        let class = self.family.class();
        ModelSpec {
            // Frequencies, which older releases saved as buffers.
            ignored_tensors: vec!["*.rotary_emb.inv_freq".into()],
            ..ends.model(class, Some(self.n_ctx), layers.collect(), final_norm)
        }
    }

    fn layer(&self, index: usize, mlp: LayerMlp) -> LayerSpec {
        let path = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{path}.{name}"), self.heads.d_model);
        let mlp = match mlp {
            LayerMlp::Dense => MlpSpec::Dense(MODEL.gated_mlp(
                &format!("{path}.mlp"),
                [self.heads.d_model, self.d_mlp],
                self.activation,
                false,
                &["hidden_size", "intermediate_size", "hidden_act"],
            )),
            LayerMlp::Sparse => MlpSpec::Moe(self.experts(&path)),
        };
        LayerSpec::sequential(
            MODEL.module(&path),
            Branch::pre_norm(
                norm("input_layernorm"),
                self.attention(&format!("{path}.self_attn")),
            ),
            Branch::pre_norm(norm("post_attention_layernorm"), mlp),
        )
    }

    fn attention(&self, path: &str) -> AttentionSpec {
        AttentionSpec {
            clip_qkv: self.clip_qkv,
            qk_norm: self.head_norms(path),
            position: PositionSpec::Rotary(self.rotary.clone()),
            mask: self.mask,
            config_keys: self.attention_keys(),
            ..MODEL.attention(path, self.heads, self.biased.into())
        }
    }

    fn head_norms(&self, path: &str) -> Option<HeadNorms> {
        let extent = match self.family {
            Family::Mixtral => return None,
            Family::Olmoe => Extent::AllHeads,
            Family::Qwen3 => Extent::Head,
        };
        let norm = |name: &str, width| self.norm(&format!("{path}.{name}"), width);
        Some(self.heads.norms(extent, norm))
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
