//! Bloom: linear biases instead of positions, a norm on the embedding, queries, keys and values head by head in one
//! product, and modules that add the residual themselves, so that HF shows a branch's output further inside.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec, Heads,
    InnerModel, LayerSpec, MlpNames, MlpSpec, NormSpec, PositionSpec, ResidualSource, StreamEnds,
    config_keys,
};

const INNER: InnerModel = InnerModel("transformer");
const HEADS: Heads = Heads::sharing(40, 5, 8);
const D_VOCAB: usize = 170;

pub(crate) fn spec() -> ModelSpec {
    let ends = StreamEnds {
        inner: INNER,
        embedding: "word_embeddings",
        ..StreamEnds::usual(D_VOCAB, HEADS.d_model, true)
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
    let keys = ["hidden_size", "layer_norm_epsilon"];
    INNER.layer_norm(path, HEADS.d_model, 1e-5, &keys)
}

/// With `apply_residual_connection_post_layernorm`, as no published checkpoint has it: it is the harder case.
fn layer(index: usize) -> LayerSpec {
    let block = format!("h.{index}");
    let norm = |name: &str| norm(&format!("{block}.{name}"));
    let (products, taps) = INNER.fused_attention(&format!("{block}.self_attention"), HEADS, true);
    let mlp = MlpSpec::Dense(dense(&format!("{block}.mlp")));
    let layer = LayerSpec::sequential(
        INNER.module(&block),
        post_norm_residual(norm("input_layernorm"), attention(products)),
        post_norm_residual(norm("post_attention_layernorm"), mlp),
    );
    LayerSpec { taps, ..layer }.adding_residuals_within()
}

fn post_norm_residual<T>(norm: NormSpec, body: T) -> Branch<T> {
    Branch {
        residual: ResidualSource::Input,
        ..Branch::pre_norm(norm, body)
    }
}

fn attention(products: AttentionSpec) -> AttentionSpec {
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
        ..products
    }
}

fn dense(path: &str) -> DenseMlp {
    let names = MlpNames::new("dense_h_to_4h", "gelu_impl", "dense_4h_to_h");
    let sizes = [HEADS.d_model, 4 * HEADS.d_model];
    let keys = ["hidden_size", "apply_residual_connection_post_layernorm"];
    INNER.mlp(path, names, sizes, Activation::GeluTanh, true, &keys)
}

#[test]
fn slopes_of_a_geometric_series_are_those_of_the_paper() {
    let PositionSpec::Alibi(by_hand) = spec().layers.remove(0).attn.unwrap().body.position else {
        panic!("linear biases")
    };
    assert_eq!(AlibiSpec::geometric(5), by_hand);
    assert_eq!(AlibiSpec::geometric(1).slopes, [0.003_906_25]);
    assert_eq!(AlibiSpec::geometric(7).slopes[4..], [0.5, 0.125, 0.031_25]);
}
