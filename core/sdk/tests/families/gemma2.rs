//! Gemma 2: offset norms on both sides of each branch, caps on scores and logits, windows in every other layer, and
//! an embedding that is scaled, rounded to the weights' precision, and tied.

use std::collections::BTreeMap;

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, DenseMlp, EmbeddingScale, EmbeddingSpec, HfTap,
    LayerSpec, Mask, MlpSpec, NormSpec, ProjectionSpec, RotaryScaling, TensorSource, UnembedSpec,
    Wiring,
};

use crate::parts::{keys, linear, rms_norm, rotary, sandwich, stored};

const D_MODEL: usize = 56;
const D_VOCAB: usize = 301;
const D_MLP: usize = 130;
const N_HEADS: usize = 4;
const N_KV_HEADS: usize = 2;
const D_HEAD: usize = 18;
const QUERY_SCALAR: f64 = 24.0;
const WINDOW: usize = 8;

pub(crate) fn spec() -> ModelSpec {
    ModelSpec {
        architecture: "Gemma2ForCausalLM".into(),
        d_model: D_MODEL,
        d_vocab: D_VOCAB,
        n_ctx: Some(8192),
        embedding: EmbeddingSpec {
            tokens: stored("model.embed_tokens.weight", &[D_VOCAB, D_MODEL]),
            module: Some("model.embed_tokens".into()),
            scale: Some(EmbeddingScale {
                value: (D_MODEL as f64).sqrt(),
                rounded_to_weights: true,
            }),
            positions: None,
            norm: None,
            config_keys: keys(&["vocab_size", "hidden_size"]),
        },
        layers: (0..2).map(layer).collect(),
        final_norm: Some(norm("model.norm")),
        unembed: UnembedSpec {
            projection: ProjectionSpec {
                weight: TensorSource::new(
                    ["lm_head.weight", "model.embed_tokens.weight"],
                    [D_VOCAB, D_MODEL],
                ),
                bias: None,
                tap: Some(HfTap::output("lm_head")),
            },
            d_vocab_out: D_VOCAB,
            logit_scale: 1.0,
            softcap: Some(30.0),
            config_keys: keys(&[
                "vocab_size",
                "tie_word_embeddings",
                "final_logit_softcapping",
            ]),
        },
        ignored_tensors: Vec::new(),
    }
}

/// Stored around 0, used around 1.
fn norm(path: &str) -> NormSpec {
    NormSpec {
        gain_offset: 1.0,
        ..rms_norm(path, D_MODEL, 1e-6)
    }
}

fn layer(index: usize) -> LayerSpec {
    let path = format!("model.layers.{index}");
    let norm = |name: &str| norm(&format!("{path}.{name}"));
    let mask = if index.is_multiple_of(2) {
        Mask::sliding(WINDOW)
    } else {
        Mask::CAUSAL
    };
    LayerSpec {
        wiring: Wiring::Sequential,
        attn: Some(sandwich(
            norm("input_layernorm"),
            attention(&format!("{path}.self_attn"), mask),
            norm("post_attention_layernorm"),
        )),
        mlp: Some(sandwich(
            norm("pre_feedforward_layernorm"),
            MlpSpec::Dense(mlp(&format!("{path}.mlp"))),
            norm("post_feedforward_layernorm"),
        )),
        module: Some(path),
        taps: BTreeMap::new(),
    }
}

fn attention(path: &str, mask: Mask) -> AttentionSpec {
    let project =
        |name: &str, outputs, inputs| linear(&format!("{path}.{name}"), outputs, inputs, false);
    AttentionSpec {
        n_heads: N_HEADS,
        n_kv_heads: N_KV_HEADS,
        d_head: D_HEAD,
        q: project("q_proj", N_HEADS * D_HEAD, D_MODEL),
        k: project("k_proj", N_KV_HEADS * D_HEAD, D_MODEL),
        v: project("v_proj", N_KV_HEADS * D_HEAD, D_MODEL),
        o: project("o_proj", D_MODEL, N_HEADS * D_HEAD),
        clip_qkv: None,
        qk_norm: None,
        position: rotary(D_HEAD, 10_000.0, RotaryScaling::None),
        scale: 1.0 / QUERY_SCALAR.sqrt(),
        softcap: Some(50.0),
        mask,
        sinks: None,
        module: Some(path.to_owned()),
        port: AttentionPort::Interface,
        config_keys: keys(&[
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "query_pre_attn_scalar",
            "attn_logit_softcapping",
            "sliding_window",
            "layer_types",
            "rope_parameters",
        ]),
    }
}

fn mlp(path: &str) -> DenseMlp {
    let project =
        |name: &str, outputs, inputs| linear(&format!("{path}.{name}"), outputs, inputs, false);
    DenseMlp {
        d_mlp: D_MLP,
        input: project("up_proj", D_MLP, D_MODEL),
        gate: Some(project("gate_proj", D_MLP, D_MODEL)),
        output: project("down_proj", D_MODEL, D_MLP),
        activation: Activation::GeluTanh,
        module: Some(path.to_owned()),
        post_tap: Some(HfTap::input(format!("{path}.down_proj"))),
        config_keys: keys(&["intermediate_size", "hidden_activation"]),
    }
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
