//! Llama 3: RMS norms, grouped queries, a gated MLP, and rotary positions stretched by wavelength.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, Heads, InnerModel, LayerSpec, Mask, MlpSpec,
    NormSpec, PositionSpec, RotaryScaling, StreamEnds, config_keys,
};

use crate::parts::rotary;

const INNER: InnerModel = InnerModel("model");
const D_MODEL: usize = 48;
const D_VOCAB: usize = 203;
const D_MLP: usize = 112;
const D_HEAD: usize = 10;
const HEADS: Heads = Heads {
    n_heads: 6,
    n_kv_heads: 2,
    d_head: D_HEAD,
    d_model: D_MODEL,
};
const EPS: f64 = 1e-5;

pub(crate) fn spec() -> ModelSpec {
    let ends = StreamEnds::usual(D_VOCAB, D_MODEL, false);
    let layers = (0..2).map(layer).collect();
    ModelSpec {
        ignored_tensors: vec!["*.rotary_emb.inv_freq".into()],
        ..ends.model("LlamaForCausalLM", Some(131_072), layers, norm("norm"))
    }
}

pub(crate) fn norm(path: &str) -> NormSpec {
    INNER.rms_norm(path, D_MODEL, EPS, &["hidden_size", "rms_norm_eps"])
}

fn layer(index: usize) -> LayerSpec {
    let path = format!("layers.{index}");
    let norm = |name: &str| norm(&format!("{path}.{name}"));
    let attention = attention(&format!("{path}.self_attn"), llama3(), Mask::CAUSAL);
    let mlp = MlpSpec::Dense(mlp(&format!("{path}.mlp")));
    LayerSpec::sequential(
        INNER.module(&path),
        Branch::pre_norm(norm("input_layernorm"), attention),
        Branch::pre_norm(norm("post_attention_layernorm"), mlp),
    )
}

fn llama3() -> PositionSpec {
    let scaling = RotaryScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_n_ctx: 8192,
    };
    rotary(D_HEAD, 500_000.0, scaling)
}

/// Mixtral's is the same but for positions and mask.
pub(crate) fn attention(path: &str, position: PositionSpec, mask: Mask) -> AttentionSpec {
    AttentionSpec {
        position,
        mask,
        config_keys: config_keys(&[
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "attention_bias",
            "rope_parameters",
        ]),
        ..INNER.attention(path, HEADS, false.into())
    }
}

fn mlp(path: &str) -> DenseMlp {
    let keys = ["intermediate_size", "hidden_act", "mlp_bias"];
    INNER.gated_mlp(path, [D_MODEL, D_MLP], Activation::Silu, false, &keys)
}
