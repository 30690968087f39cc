//! Bloom: linear biases instead of positions, a norm on the embedding, queries, keys and values head by head in one
//! product, and modules that add the residual themselves, so that HF shows a branch's output further inside.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec,
    FusedHeads, Heads, HfTap, InnerModel, LayerSpec, MlpNames, MlpSpec, NormSpec, PositionSpec,
    ResidualSource, StreamEnds, config_keys,
};

const INNER: InnerModel = InnerModel("transformer");
const D_MODEL: usize = 40;
const D_VOCAB: usize = 170;
const N_HEADS: usize = 5;
const D_HEAD: usize = 8;

pub(crate) fn spec() -> ModelSpec {
    let ends = StreamEnds {
        inner: INNER,
        embedding: "word_embeddings",
        ..StreamEnds::usual(D_VOCAB, D_MODEL, true)
    };
    let layers = (0..2).map(layer).collect();
    ModelSpec {
        embedding: EmbeddingSpec {
            norm: Some(norm("word_embeddings_layernorm")),
            ..ends.embedding()
        },
        ..ends.model("BloomForCausalLM", None, layers, norm("ln_f"))
    }
}

fn norm(path: &str) -> NormSpec {
    INNER.layer_norm(path, D_MODEL, 1e-5, &["hidden_size", "layer_norm_epsilon"])
}

/// With `apply_residual_connection_post_layernorm`, as no published checkpoint has it: it is the harder case.
fn layer(index: usize) -> LayerSpec {
    let path = format!("h.{index}");
    let norm = |name: &str| norm(&format!("{path}.{name}"));
    let (attn, mlp) = (format!("{path}.self_attention"), format!("{path}.mlp"));
    let fused = FusedHeads {
        product: INNER.linear(
            &format!("{attn}.query_key_value"),
            3 * N_HEADS * D_HEAD,
            D_MODEL,
            true,
        ),
        heads: Heads::sharing(D_MODEL, N_HEADS, D_HEAD),
    };
    let output = |path: String| HfTap::output(INNER.module(&path));
    let added_inside = [
        ("hook_attn_out", output(format!("{attn}.dense"))),
        ("hook_mlp_out", output(format!("{mlp}.dense_4h_to_h"))),
    ];
    LayerSpec {
        taps: fused
            .taps()
            .into_iter()
            .chain(added_inside.map(|(hook, tap)| (hook.to_owned(), tap)))
            .collect(),
        ..LayerSpec::sequential(
            INNER.module(&path),
            post_norm_residual(norm("input_layernorm"), attention(&attn, &fused)),
            post_norm_residual(
                norm("post_attention_layernorm"),
                MlpSpec::Dense(dense(&mlp)),
            ),
        )
    }
}

fn post_norm_residual<T>(norm: NormSpec, body: T) -> Branch<T> {
    Branch {
        residual: ResidualSource::Input,
        ..Branch::pre_norm(norm, body)
    }
}

fn attention(path: &str, fused: &FusedHeads) -> AttentionSpec {
    let out = INNER.linear(&format!("{path}.dense"), D_MODEL, D_MODEL, true);
    AttentionSpec {
        // Four heads get powers of 1/4, and the fifth the first odd power of its square root.
        position: PositionSpec::Alibi(AlibiSpec {
            slopes: vec![0.25, 0.0625, 0.015_625, 0.003_906_25, 0.5],
        }),
        port: AttentionPort::Operations,
        config_keys: config_keys(&[
            "hidden_size",
            "n_head",
            "apply_residual_connection_post_layernorm",
        ]),
        ..fused.attention(out, INNER.module(path))
    }
}

fn dense(path: &str) -> DenseMlp {
    let names = MlpNames {
        input: "dense_h_to_4h",
        activation: "gelu_impl",
        output: "dense_4h_to_h",
    };
    let sizes = [D_MODEL, 4 * D_MODEL];
    let keys = ["hidden_size", "apply_residual_connection_post_layernorm"];
    INNER.mlp(path, names, sizes, Activation::GeluTanh, true, &keys)
}
