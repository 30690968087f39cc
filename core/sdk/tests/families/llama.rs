//! Llama 3: RMS norms, grouped queries, a gated MLP, and rotary positions stretched by wavelength.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, Heads, InnerModel, LayerSpec, MlpSpec, NormSpec,
    Pairing, PositionSpec, RotaryScaling, RotarySpec, StreamEnds, config_keys,
};

const INNER: InnerModel = InnerModel("model");
const D_VOCAB: usize = 203;
const D_MLP: usize = 112;
const HEADS: Heads = Heads {
    n_heads: 6,
    n_kv_heads: 2,
    d_head: 10,
    d_model: 48,
};

pub(crate) fn spec() -> ModelSpec {
    let ends = StreamEnds::usual(D_VOCAB, HEADS.d_model, false);
    let layers = (0..2).map(layer).collect();
    ends.model("LlamaForCausalLM", Some(131_072), layers, norm("norm"))
}

fn layer(index: usize) -> LayerSpec {
    let block = format!("layers.{index}");
    let attention = attention(&format!("{block}.self_attn"), llama3());
    let mlp = MlpSpec::Dense(mlp(&format!("{block}.mlp")));
    LayerSpec::sequential(
        INNER.module(&block),
        Branch::pre_norm(norm(&format!("{block}.input_layernorm")), attention),
        Branch::pre_norm(norm(&format!("{block}.post_attention_layernorm")), mlp),
    )
}

pub(crate) fn norm(path: &str) -> NormSpec {
    let keys = ["hidden_size", "rms_norm_eps"];
    INNER.rms_norm(path, HEADS.d_model, 1e-5, &keys)
}

fn llama3() -> PositionSpec {
    let scaling = RotaryScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_n_ctx: 8192,
    };
    rotary(HEADS.d_head, 500_000.0, scaling)
}

pub(crate) fn rotary(dim: usize, theta: f64, scaling: RotaryScaling) -> PositionSpec {
    PositionSpec::Rotary(RotarySpec {
        dim,
        pairing: Pairing::Half,
        theta,
        scaling,
    })
}

/// Mixtral's is the same but for positions and mask.
pub(crate) fn attention(path: &str, position: PositionSpec) -> AttentionSpec {
    AttentionSpec {
        position,
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
    INNER.gated_mlp(path, [HEADS.d_model, D_MLP], Activation::Silu, false, &keys)
}
