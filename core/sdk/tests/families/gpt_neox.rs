//! GPT-NeoX: both branches read the block's input, each through a norm of its own; a quarter of each head is rotated;
//! queries, keys and values are one product, head by head.

use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec, FusedHeads, Heads,
    HfTap, LayerSpec, Mask, MlpSpec, NormSpec, ProjectionSpec, RotaryScaling, TensorSource,
    UnembedSpec, Wiring,
};
use tlbench_sdk::{ModelSpec, Tensor};

use crate::parts::{keys, layer_norm, linear, rotary, stored};

const D_MODEL: usize = 64;
const D_VOCAB: usize = 150;
const D_MLP: usize = 200;
const N_HEADS: usize = 4;
const D_HEAD: usize = 16;

pub(crate) fn spec() -> ModelSpec {
    ModelSpec {
        architecture: "GPTNeoXForCausalLM".into(),
        d_model: D_MODEL,
        d_vocab: D_VOCAB,
        n_ctx: Some(128),
        embedding: EmbeddingSpec {
            tokens: stored("gpt_neox.embed_in.weight", &[D_VOCAB, D_MODEL]),
            module: Some("gpt_neox.embed_in".into()),
            scale: None,
            positions: None,
            norm: None,
            config_keys: keys(&["vocab_size", "hidden_size"]),
        },
        layers: (0..2).map(layer).collect(),
        final_norm: Some(norm("gpt_neox.final_layer_norm")),
        unembed: UnembedSpec {
            projection: ProjectionSpec {
                // `embed_out` on disk, `lm_head` in the module tree.
                weight: TensorSource::new(
                    ["embed_out.weight", "lm_head.weight"],
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
        ignored_tensors: [
            "*.attention.bias",
            "*.attention.masked_bias",
            "*.attention.rotary_emb.inv_freq",
        ]
        .map(str::to_owned)
        .into(),
    }
}

fn norm(path: &str) -> NormSpec {
    layer_norm(path, D_MODEL, 1e-5, "layer_norm_eps")
}

fn layer(index: usize) -> LayerSpec {
    let path = format!("gpt_neox.layers.{index}");
    let norm = |name: &str| norm(&format!("{path}.{name}"));
    let fused = fused(&path);
    LayerSpec {
        wiring: Wiring::Parallel,
        attn: Some(Branch::pre_norm(
            norm("input_layernorm"),
            attention(&format!("{path}.attention"), &fused),
        )),
        mlp: Some(Branch::pre_norm(
            norm("post_attention_layernorm"),
            MlpSpec::Dense(mlp(&format!("{path}.mlp"))),
        )),
        module: Some(path),
        taps: fused.taps(),
    }
}

fn fused(layer: &str) -> FusedHeads {
    FusedHeads {
        product: linear(
            &format!("{layer}.attention.query_key_value"),
            3 * N_HEADS * D_HEAD,
            D_MODEL,
            true,
        ),
        heads: Heads::sharing(D_MODEL, N_HEADS, D_HEAD),
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
        position: rotary(D_HEAD / 4, 10_000.0, RotaryScaling::None),
        scale: 1.0 / (D_HEAD as f64).sqrt(),
        softcap: None,
        mask: Mask::CAUSAL,
        sinks: None,
        module: Some(path.to_owned()),
        port: AttentionPort::Interface,
        config_keys: keys(&["num_attention_heads", "attention_bias", "rope_parameters"]),
    }
}

fn mlp(path: &str) -> DenseMlp {
    DenseMlp {
        d_mlp: D_MLP,
        input: linear(&format!("{path}.dense_h_to_4h"), D_MLP, D_MODEL, true),
        gate: None,
        output: linear(&format!("{path}.dense_4h_to_h"), D_MODEL, D_MLP, true),
        activation: Activation::Gelu,
        module: Some(path.to_owned()),
        post_tap: Some(HfTap::output(format!("{path}.act"))),
        config_keys: keys(&["intermediate_size", "hidden_act"]),
    }
}

#[test]
fn the_rows_of_a_head_lie_together_and_in_them_queries_keys_and_values() {
    let fused = FusedHeads {
        product: linear("qkv", 12, 1, true),
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
