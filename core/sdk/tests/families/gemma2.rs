//! Gemma 2: offset norms on both sides of each branch, caps on scores and logits, windows in every other layer, and
//! an embedding that is scaled, rounded to the weights' precision, and tied.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, EmbeddingScale, EmbeddingSpec, Heads, InnerModel,
    LayerSpec, Mask, MlpSpec, NormSpec, RotaryScaling, StreamEnds, UnembedSpec, config_keys,
};

use crate::parts::rotary;

const INNER: InnerModel = InnerModel("model");
const D_MODEL: usize = 56;
const D_VOCAB: usize = 301;
const D_MLP: usize = 130;
const D_HEAD: usize = 18;
const HEADS: Heads = Heads {
    n_heads: 4,
    n_kv_heads: 2,
    d_head: D_HEAD,
    d_model: D_MODEL,
};
const QUERY_SCALAR: f64 = 24.0;
const WINDOW: usize = 8;

pub(crate) fn spec() -> ModelSpec {
    let ends = StreamEnds::usual(D_VOCAB, D_MODEL, true);
    let layers = (0..2).map(layer).collect();
    ModelSpec {
        embedding: EmbeddingSpec {
            scale: Some(EmbeddingScale {
                value: (D_MODEL as f64).sqrt(),
                rounded_to_weights: true,
            }),
            ..ends.embedding()
        },
        unembed: UnembedSpec {
            softcap: Some(30.0),
            ..ends.unembed()
        },
        ..ends.model("Gemma2ForCausalLM", Some(8192), layers, norm("norm"))
    }
}

/// Stored around 0, used around 1.
fn norm(path: &str) -> NormSpec {
    NormSpec {
        gain_offset: 1.0,
        ..INNER.rms_norm(path, D_MODEL, 1e-6, &["hidden_size", "rms_norm_eps"])
    }
}

fn layer(index: usize) -> LayerSpec {
    let path = format!("layers.{index}");
    let norm = |name: &str| norm(&format!("{path}.{name}"));
    let mask = if index.is_multiple_of(2) {
        Mask::sliding(WINDOW)
    } else {
        Mask::CAUSAL
    };
    let attention = attention(&format!("{path}.self_attn"), mask);
    let mlp = MlpSpec::Dense(mlp(&format!("{path}.mlp")));
    LayerSpec::sequential(
        INNER.module(&path),
        Branch {
            output_norm: Some(norm("post_attention_layernorm")),
            ..Branch::pre_norm(norm("input_layernorm"), attention)
        },
        Branch {
            output_norm: Some(norm("post_feedforward_layernorm")),
            ..Branch::pre_norm(norm("pre_feedforward_layernorm"), mlp)
        },
    )
}

fn attention(path: &str, mask: Mask) -> AttentionSpec {
    AttentionSpec {
        position: rotary(D_HEAD, 10_000.0, RotaryScaling::None),
        scale: 1.0 / QUERY_SCALAR.sqrt(),
        softcap: Some(50.0),
        mask,
        config_keys: config_keys(&[
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "query_pre_attn_scalar",
            "attn_logit_softcapping",
            "sliding_window",
            "layer_types",
            "rope_parameters",
        ]),
        ..INNER.attention(path, HEADS, false.into())
    }
}

fn mlp(path: &str) -> DenseMlp {
    let keys = ["intermediate_size", "hidden_activation"];
    INNER.gated_mlp(path, [D_MODEL, D_MLP], Activation::GeluTanh, false, &keys)
}

#[test]
fn windows_are_in_every_other_layer() {
    let spec = spec();
    let masks: Vec<Mask> = spec
        .layers
        .iter()
        .map(|layer| layer.attn.as_ref().unwrap().body.mask)
        .collect();
    assert_eq!(masks, [Mask::sliding(8), Mask::CAUSAL]);
}
