//! Bloom: linear biases instead of positions, a norm on the embedding, queries, keys and values head by head in one
//! product, and modules that add the residual themselves, so that HF shows a branch's output further inside.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec,
    FusedHeads, Heads, HfTap, LayerSpec, Mask, MlpSpec, NormSpec, PositionSpec, ProjectionSpec,
    ResidualSource, TensorSource, UnembedSpec, Wiring,
};

use crate::parts::{keys, layer_norm, linear, stored};

const D_MODEL: usize = 40;
const D_VOCAB: usize = 170;
const N_HEADS: usize = 5;
const D_HEAD: usize = 8;

pub(crate) fn spec() -> ModelSpec {
    ModelSpec {
        architecture: "BloomForCausalLM".into(),
        d_model: D_MODEL,
        d_vocab: D_VOCAB,
        n_ctx: None,
        embedding: EmbeddingSpec {
            tokens: stored("transformer.word_embeddings.weight", &[D_VOCAB, D_MODEL]),
            module: Some("transformer.word_embeddings".into()),
            scale: None,
            positions: None,
            norm: Some(norm("transformer.word_embeddings_layernorm")),
            config_keys: keys(&["vocab_size", "hidden_size"]),
        },
        layers: (0..2).map(layer).collect(),
        final_norm: Some(norm("transformer.ln_f")),
        unembed: UnembedSpec {
            projection: ProjectionSpec {
                weight: TensorSource::new(
                    ["lm_head.weight", "transformer.word_embeddings.weight"],
                    [D_VOCAB, D_MODEL],
                ),
                bias: None,
                tap: Some(HfTap::output("lm_head")),
            },
            d_vocab_out: D_VOCAB,
            logit_scale: 1.0,
            softcap: None,
            config_keys: keys(&["vocab_size", "tie_word_embeddings"]),
        },
        ignored_tensors: Vec::new(),
    }
}

fn norm(path: &str) -> NormSpec {
    layer_norm(path, D_MODEL, 1e-5, "layer_norm_epsilon")
}

/// With `apply_residual_connection_post_layernorm`, as no published checkpoint has it: it is the harder case.
fn layer(index: usize) -> LayerSpec {
    let path = format!("transformer.h.{index}");
    let fused = FusedHeads {
        product: linear(
            &format!("{path}.self_attention.query_key_value"),
            3 * N_HEADS * D_HEAD,
            D_MODEL,
            true,
        ),
        heads: Heads::sharing(D_MODEL, N_HEADS, D_HEAD),
    };
    let (attn, mlp) = (format!("{path}.self_attention"), format!("{path}.mlp"));
    let added_inside = [
        ("hook_attn_out", HfTap::output(format!("{attn}.dense"))),
        (
            "hook_mlp_out",
            HfTap::output(format!("{mlp}.dense_4h_to_h")),
        ),
    ];
    LayerSpec {
        wiring: Wiring::Sequential,
        attn: Some(post_norm_residual(
            norm(&format!("{path}.input_layernorm")),
            attention(&attn, &fused),
        )),
        mlp: Some(post_norm_residual(
            norm(&format!("{path}.post_attention_layernorm")),
            MlpSpec::Dense(dense(&mlp)),
        )),
        module: Some(path),
        taps: fused
            .taps()
            .into_iter()
            .chain(added_inside.map(|(hook, tap)| (hook.to_owned(), tap)))
            .collect(),
    }
}

fn post_norm_residual<T>(norm: NormSpec, body: T) -> Branch<T> {
    Branch {
        residual: ResidualSource::Input,
        ..Branch::pre_norm(norm, body)
    }
}

fn attention(path: &str, fused: &FusedHeads) -> AttentionSpec {
    AttentionSpec {
        n_heads: N_HEADS,
        n_kv_heads: N_HEADS,
        d_head: D_HEAD,
        q: fused.part(0),
        k: fused.part(1),
        v: fused.part(2),
        o: linear(&format!("{path}.dense"), D_MODEL, D_MODEL, true),
        clip_qkv: None,
        qk_norm: None,
        // Four heads get powers of 1/4, and the fifth the first odd power of its square root.
        position: PositionSpec::Alibi(AlibiSpec {
            slopes: vec![0.25, 0.0625, 0.015_625, 0.003_906_25, 0.5],
        }),
        scale: 1.0 / (D_HEAD as f64).sqrt(),
        softcap: None,
        mask: Mask::CAUSAL,
        sinks: None,
        module: Some(path.to_owned()),
        port: AttentionPort::Operations,
        config_keys: keys(&[
            "hidden_size",
            "n_head",
            "apply_residual_connection_post_layernorm",
        ]),
    }
}

fn dense(path: &str) -> DenseMlp {
    DenseMlp {
        d_mlp: 4 * D_MODEL,
        input: linear(&format!("{path}.dense_h_to_4h"), 4 * D_MODEL, D_MODEL, true),
        gate: None,
        output: linear(&format!("{path}.dense_4h_to_h"), D_MODEL, 4 * D_MODEL, true),
        activation: Activation::GeluTanh,
        module: Some(path.to_owned()),
        post_tap: Some(HfTap::output(format!("{path}.gelu_impl"))),
        config_keys: keys(&["hidden_size", "apply_residual_connection_post_layernorm"]),
    }
}
