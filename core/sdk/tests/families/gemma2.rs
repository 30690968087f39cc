//! Gemma 2: offset norms on both sides of each branch, caps on scores and logits, windows in every other layer, and
//! an embedding that is scaled, rounded to the weights' precision, and tied.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, EmbeddingScale, EmbeddingSpec, Heads, InnerModel,
    LayerSpec, Mask, MlpSpec, NormSpec, RotaryScaling, StreamEnds, UnembedSpec, config_keys,
};

use crate::llama::rotary;

const INNER: InnerModel = InnerModel("model");
const D_VOCAB: usize = 301;
const D_MLP: usize = 130;
const HEADS: Heads = Heads {
    n_heads: 4,
    n_kv_heads: 2,
    d_head: 18,
    d_model: 56,
};
const QUERY_SCALAR: f64 = 24.0;
const WINDOW: usize = 8;

pub(crate) fn spec() -> ModelSpec {
    let ends = StreamEnds::usual(D_VOCAB, HEADS.d_model, true);
    let layers = (0..2).map(layer).collect();
    ModelSpec {
        embedding: EmbeddingSpec {
            scale: Some(EmbeddingScale {
                value: (HEADS.d_model as f64).sqrt(),
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
    let keys = ["hidden_size", "rms_norm_eps"];
    NormSpec {
        gain_offset: 1.0,
        ..INNER.rms_norm(path, HEADS.d_model, 1e-6, &keys)
    }
}

fn layer(index: usize) -> LayerSpec {
    let block = format!("layers.{index}");
    let norm = |name: &str| norm(&format!("{block}.{name}"));
    let window = index.is_multiple_of(2).then_some(WINDOW);
    let attention = attention(&format!("{block}.self_attn"), Mask::windowed(window));
    let mlp = MlpSpec::Dense(mlp(&format!("{block}.mlp")));
    LayerSpec::sequential(
        INNER.module(&block),
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
        position: rotary(HEADS.d_head, 10_000.0, RotaryScaling::None),
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
    let (sizes, activation) = ([HEADS.d_model, D_MLP], Activation::GeluTanh);
    let keys = ["intermediate_size", "hidden_activation"];
    INNER.gated_mlp(path, sizes, activation, false, &keys)
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
