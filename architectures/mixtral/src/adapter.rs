//! From the `config.json` of a mixture of experts to its spec.

use tlbench_sdk::spec::{
    AttentionSpec, Branch, DenseMlp, Experts, HeadNorms, InnerModel, LayerSpec, MlpSpec, ModelSpec,
    MoeSpec, NormSpec, PositionSpec, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

use crate::hyper::{Hyper, LayerMlp};

/// The adapter for Mixtral and its like.
pub(crate) struct Mixtral;

impl ArchitectureAdapter for Mixtral {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo::new(
            "mixtral",
            "Mixtral, OLMoE and Qwen3-MoE (MixtralForCausalLM, OlmoeForCausalLM, \
             Qwen3MoeForCausalLM)",
            &["mixtral", "olmoe", "qwen3_moe"],
        )
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("model");

impl Hyper {
    fn model(&self) -> ModelSpec {
        let layers = (0..).zip(&self.layers);
        let layers = layers.map(|(n, &mlp)| self.layer(n, mlp)).collect();
        let final_norm = self.norm("norm", self.heads.d_model);
        self.ends
            .model(self.family.class, Some(self.n_ctx), layers, final_norm)
    }

    fn layer(&self, index: usize, mlp: LayerMlp) -> LayerSpec {
        let block = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{block}.{name}"), self.heads.d_model);
        let attention = self.attention(&format!("{block}.self_attn"));
        let mlp = match mlp {
            LayerMlp::Dense => MlpSpec::Dense(self.mlp(&format!("{block}.mlp"))),
            LayerMlp::Sparse => MlpSpec::Moe(self.experts(&block)),
        };
        LayerSpec::sequential(
            INNER.module(&block),
            Branch::pre_norm(norm("input_layernorm"), attention),
            Branch::pre_norm(norm("post_attention_layernorm"), mlp),
        )
    }

    fn attention(&self, path: &str) -> AttentionSpec {
        let shared = [
            "hidden_size",
            "num_attention_heads",
            "num_key_value_heads",
            "rope_parameters",
        ];
        AttentionSpec {
            clip_qkv: self.clip_qkv,
            qk_norm: self.head_norms(path),
            position: PositionSpec::Rotary(self.rotary.clone()),
            mask: self.mask,
            config_keys: config_keys(&[&shared, self.family.attention_keys].concat()),
            ..INNER.attention(path, self.heads, self.biased.into())
        }
    }

    fn head_norms(&self, path: &str) -> Option<HeadNorms> {
        let norm = |name: &str, width| self.norm(&format!("{path}.{name}"), width);
        let extent = self.family.head_norms?;
        Some(self.heads.norms(extent, norm))
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let sizes = [self.heads.d_model, self.d_mlp];
        let keys = ["hidden_size", "intermediate_size", "hidden_act"];
        INNER.gated_mlp(path, sizes, self.activation, false, &keys)
    }

    fn experts(&self, block: &str) -> MoeSpec {
        let shared = [
            "hidden_size",
            "hidden_act",
            "num_local_experts",
            "num_experts_per_tok",
        ];
        let experts = Experts {
            names: self.family.expert_names,
            count: self.n_experts,
            top_k: self.top_k,
            d_model: self.heads.d_model,
            d_mlp: self.d_expert,
            activation: self.activation,
            config_keys: &[&shared, self.family.expert_keys].concat(),
        };
        MoeSpec {
            renormalise: self.renormalise,
            ..INNER.experts(block, &experts)
        }
    }

    fn norm(&self, path: &str, width: usize) -> NormSpec {
        INNER.rms_norm(path, width, self.eps, &["hidden_size", "rms_norm_eps"])
    }
}
