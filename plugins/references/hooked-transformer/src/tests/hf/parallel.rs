//! Families with LayerNorms and rotary positions, most of whose branches stand side by side.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, BranchInput, FusedHeads, Heads, InnerModel, LayerSpec,
    MlpNames, MlpSpec, NormSpec, Pairing, PositionSpec, RotaryScaling, StreamEnds, TensorSource,
    Wiring,
};

use super::llama::{Build, GROUPED, MODEL, attn, mlp, rotary};
use super::{D_MLP, D_MODEL, D_VOCAB, N_CTX};

/// So wide that half of a head has more than one pair.
const WIDE: Heads = Heads {
    n_heads: 2,
    n_kv_heads: 1,
    d_head: 8,
    d_model: D_MODEL,
};

/// One norm for both branches, biases everywhere, and half of each head rotated.
pub(super) fn phi() -> ModelSpec {
    let layers = (0..2).map(|index| {
        let path = format!("layers.{index}");
        let attention = MODEL.attention(&format!("{path}.self_attn"), WIDE, true.into());
        let o = MODEL.linear(&format!("{path}.self_attn.dense"), D_MODEL, D_MODEL, true);
        let attention = AttentionSpec {
            o,
            position: rotary(4, RotaryScaling::None),
            ..attention
        };
        let norm = MODEL.layer_norm(&format!("{path}.input_layernorm"), D_MODEL, 1e-5, &[]);
        let names = ["fc1", "fc2"];
        side_by_side(
            Branch::pre_norm(norm.clone(), attention),
            Branch {
                input: BranchInput::SharedNorm,
                ..Branch::pre_norm(
                    norm,
                    ungated(MODEL, &path, names, Activation::GeluTanh, true),
                )
            },
        )
    });
    let norm = MODEL.layer_norm("final_layernorm", D_MODEL, 1e-5, &[]);
    let ends = StreamEnds::usual(D_VOCAB, D_MODEL, false);
    let mut spec = ends.model("Phi", Some(N_CTX), layers.collect(), norm);
    spec.unembed.projection.bias = Some(TensorSource::new(["lm_head.bias"], [D_VOCAB]));
    spec
}

/// A norm for each branch, and queries, keys and values in one product.
pub(super) fn gpt_neox() -> ModelSpec {
    const NEOX: InnerModel = InnerModel("gpt_neox");
    let heads = Heads::sharing(D_MODEL, 2, 8);
    let norm = |path: &str| NEOX.layer_norm(path, D_MODEL, 1e-5, &[]);
    let layers = (0..2).map(|index| {
        let path = format!("layers.{index}");
        let named = |name: &str| norm(&format!("{path}.{name}"));
        let linear = |name: &str, outputs| {
            NEOX.linear(&format!("{path}.attention.{name}"), outputs, D_MODEL, true)
        };
        let fused = FusedHeads {
            product: linear("query_key_value", 3 * D_MODEL),
            heads,
        };
        let attention = AttentionSpec {
            position: rotary(4, RotaryScaling::None),
            ..fused.attention(linear("dense", D_MODEL), String::new())
        };
        let names = ["dense_h_to_4h", "dense_4h_to_h"];
        let mlp = ungated(NEOX, &path, names, Activation::Gelu, true);
        side_by_side(
            Branch::pre_norm(named("input_layernorm"), attention),
            Branch::pre_norm(named("post_attention_layernorm"), mlp),
        )
    });
    let ends = StreamEnds {
        inner: NEOX,
        embedding: "embed_in",
        head: &["embed_out.weight"],
        ..StreamEnds::usual(D_VOCAB, D_MODEL, false)
    };
    ends.model(
        "GPTNeoX",
        Some(N_CTX),
        layers.collect(),
        norm("final_layer_norm"),
    )
}

/// One norm without a bias for both branches, neighbouring channels rotated, and scaled logits.
pub(super) fn cohere() -> ModelSpec {
    let norm = |path: &str| NormSpec {
        bias: None,
        ..MODEL.layer_norm(path, D_MODEL, 1e-5, &[])
    };
    let build = Build {
        tied: true,
        ..Build::plain(GROUPED, 1e-5)
    };
    let mut spec = build.model(|path, layer| {
        layer.wiring = Wiring::Parallel;
        attn(layer).input = BranchInput::Norm(norm(&format!("{path}.input_layernorm")));
        mlp(layer).input = BranchInput::SharedNorm;
        if let PositionSpec::Rotary(rotary) = &mut attn(layer).body.position {
            rotary.pairing = Pairing::Interleaved;
        }
    });
    spec.final_norm = Some(norm("norm"));
    spec.unembed.logit_scale = 0.4;
    spec
}

/// Gains around 0, and an MLP of squares without a gate.
pub(super) fn nemotron() -> ModelSpec {
    let norm = |path: &str| NormSpec {
        gain_offset: 1.0,
        ..MODEL.layer_norm(path, D_MODEL, 1e-5, &[])
    };
    let mut spec = Build::plain(WIDE, 1e-5).model(|path, layer| {
        let named = |name: &str| BranchInput::Norm(norm(&format!("{path}.{name}")));
        attn(layer).input = named("input_layernorm");
        attn(layer).body.position = rotary(4, RotaryScaling::None);
        let names = ["up_proj", "down_proj"];
        mlp(layer).input = named("post_attention_layernorm");
        mlp(layer).body = ungated(MODEL, path, names, Activation::ReluSquared, false);
    });
    spec.final_norm = Some(norm("norm"));
    spec
}

pub(super) fn ungated(
    inner: InnerModel,
    path: &str,
    [input, output]: [&str; 2],
    activation: Activation,
    bias: bool,
) -> MlpSpec {
    let names = MlpNames {
        input,
        activation: "act",
        output,
    };
    let path = format!("{path}.mlp");
    MlpSpec::Dense(inner.mlp(&path, names, [D_MODEL, D_MLP], activation, bias, &[]))
}

fn side_by_side(attn: Branch<AttentionSpec>, mlp: Branch<MlpSpec>) -> LayerSpec {
    LayerSpec {
        wiring: Wiring::Parallel,
        ..LayerSpec::sequential(String::new(), attn, mlp)
    }
}
