//! GPT-NeoX: both branches read the block's input, each through a norm of its own; a quarter of each head is rotated;
//! queries, keys and values are one product, head by head.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, FusedHeads, Heads, InnerModel, LayerSpec,
    MlpNames, MlpSpec, NormSpec, RotaryScaling, StreamEnds, Wiring, config_keys,
};
use tlbench_sdk::{ModelSpec, Tensor};

use crate::llama::rotary;

const INNER: InnerModel = InnerModel("gpt_neox");
const HEADS: Heads = Heads::sharing(64, 4, 16);
const D_VOCAB: usize = 150;
const D_MLP: usize = 200;

pub(crate) fn spec() -> ModelSpec {
    let ends = StreamEnds {
        inner: INNER,
        embedding: "embed_in",
        // `embed_out` on disk, `lm_head` in the module tree.
        head: &["embed_out.weight", "lm_head.weight"],
        ..StreamEnds::usual(D_VOCAB, HEADS.d_model, false)
    };
    let layers = (0..2).map(layer).collect();
    ModelSpec {
        ignored_tensors: config_keys(&[
            "*.attention.bias",
            "*.attention.masked_bias",
            "*.attention.rotary_emb.inv_freq",
        ]),
        ..ends.model(
            "GPTNeoXForCausalLM",
            Some(128),
            layers,
            norm("final_layer_norm"),
        )
    }
}

fn norm(path: &str) -> NormSpec {
    let keys = ["hidden_size", "layer_norm_eps"];
    INNER.layer_norm(path, HEADS.d_model, 1e-5, &keys)
}

fn layer(index: usize) -> LayerSpec {
    let block = format!("layers.{index}");
    let norm = |name: &str| norm(&format!("{block}.{name}"));
    let (products, taps) = INNER.fused_attention(&format!("{block}.attention"), HEADS, true);
    let mlp = MlpSpec::Dense(mlp(&format!("{block}.mlp")));
    LayerSpec {
        wiring: Wiring::Parallel,
        taps,
        ..LayerSpec::sequential(
            INNER.module(&block),
            Branch::pre_norm(norm("input_layernorm"), attention(products)),
            Branch::pre_norm(norm("post_attention_layernorm"), mlp),
        )
    }
}

fn attention(products: AttentionSpec) -> AttentionSpec {
    AttentionSpec {
        position: rotary(HEADS.d_head / 4, 10_000.0, RotaryScaling::None),
        config_keys: config_keys(&["num_attention_heads", "attention_bias", "rope_parameters"]),
        ..products
    }
}

fn mlp(path: &str) -> DenseMlp {
    let names = MlpNames::new("dense_h_to_4h", "act", "dense_4h_to_h");
    let keys = ["intermediate_size", "hidden_act"];
    INNER.mlp(
        path,
        names,
        [HEADS.d_model, D_MLP],
        Activation::Gelu,
        true,
        &keys,
    )
}

#[test]
fn the_rows_of_a_head_lie_together_and_in_them_queries_keys_and_values() {
    let fused = FusedHeads {
        product: INNER.linear("qkv", 12, 1, true),
        heads: Heads::sharing(1, 2, 2),
    };
    let rows = Tensor::from_vec((0..12).map(f64::from).collect(), &[12, 1]).unwrap();
    let part = |nth| {
        let source = fused.part(nth).weight;
        let cut = source
            .cut
            .iter()
            .try_fold(rows.clone(), |whole, cut| cut.apply(&whole));
        cut.unwrap().to_f64_vec()
    };
    assert_eq!(part(0), [0.0, 1.0, 6.0, 7.0]);
    assert_eq!(part(1), [2.0, 3.0, 8.0, 9.0]);
    assert_eq!(part(2), [4.0, 5.0, 10.0, 11.0]);
}
