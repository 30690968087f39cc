//! Families without rotary positions: learned ones, or ALiBi.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionSpec, Branch, BranchInput, Cut, DenseMlp, EmbeddingSpec,
    FusedHeads, Heads, InnerModel, LayerSpec, MlpNames, MlpSpec, NormSpec, PositionSpec,
    PositionTable, ProjectionSpec, ResidualSource, StreamEnds,
};

use super::{D_MLP, D_MODEL, D_VOCAB, N_CTX};

const TRANSFORMER: InnerModel = InnerModel("transformer");
const DECODER: InnerModel = InnerModel("model.decoder");

fn positions(inner: InnerModel, path: &str, offset: usize) -> PositionTable {
    PositionTable {
        table: inner.tensor(path, [N_CTX + offset, D_MODEL]),
        offset,
        module: None,
        config_keys: Vec::new(),
    }
}

/// Products that are stored as they multiply, three of them as one.
pub(super) fn gpt2(activation: Activation) -> ModelSpec {
    let heads = Heads::sharing(D_MODEL, 4, 4);
    let norm = |path: &str| TRANSFORMER.layer_norm(path, D_MODEL, 1e-5, &[]);
    let conv = |path: &str, inputs, outputs| ProjectionSpec {
        weight: TRANSFORMER
            .tensor(&format!("{path}.weight"), [inputs, outputs])
            .cut(Cut::Transpose),
        bias: Some(TRANSFORMER.tensor(&format!("{path}.bias"), [outputs])),
        tap: None,
    };
    let layers = (0..2).map(|index| {
        let path = |name: &str| format!("h.{index}.{name}");
        let part = |nth: usize| {
            let rows = Cut::Slice {
                dim: 0,
                start: nth * D_MODEL,
                len: D_MODEL,
            };
            let whole = conv(&path("attn.c_attn"), D_MODEL, 3 * D_MODEL);
            ProjectionSpec {
                weight: whole.weight.cut(rows.clone()),
                bias: whole.bias.map(|bias| bias.cut(rows)),
                tap: None,
            }
        };
        let o = conv(&path("attn.c_proj"), D_MODEL, D_MODEL);
        let mlp = DenseMlp {
            d_mlp: D_MLP,
            input: conv(&path("mlp.c_fc"), D_MODEL, D_MLP),
            gate: None,
            output: conv(&path("mlp.c_proj"), D_MLP, D_MODEL),
            activation,
            module: None,
            post_tap: None,
            config_keys: Vec::new(),
        };
        let attention = heads.attention([part(0), part(1), part(2), o], String::new());
        LayerSpec::sequential(
            String::new(),
            Branch::pre_norm(norm(&path("ln_1")), attention),
            Branch::pre_norm(norm(&path("ln_2")), MlpSpec::Dense(mlp)),
        )
    });
    let ends = StreamEnds {
        inner: TRANSFORMER,
        embedding: "wte",
        ..StreamEnds::usual(D_VOCAB, D_MODEL, true)
    };
    let mut spec = ends.model("GPT2", Some(N_CTX), layers.collect(), norm("ln_f"));
    spec.embedding.positions = Some(positions(TRANSFORMER, "wpe.weight", 0));
    spec
}

/// Positions that begin at row 2 of their table. With `post_norm`, norms are of the sums, and the last one is left out.
pub(super) fn opt(post_norm: bool) -> ModelSpec {
    let heads = Heads::sharing(D_MODEL, 4, 4);
    let norm = |path: &str| DECODER.layer_norm(path, D_MODEL, 1e-5, &[]);
    let layers = (0..2).map(|index| {
        let path = |name: &str| format!("layers.{index}.{name}");
        let linear =
            |name: &str, outputs, inputs| DECODER.linear(&path(name), outputs, inputs, true);
        let products = ["q_proj", "k_proj", "v_proj", "out_proj"];
        let products = products.map(|name| linear(&format!("self_attn.{name}"), D_MODEL, D_MODEL));
        let mlp = DenseMlp {
            d_mlp: D_MLP,
            input: linear("fc1", D_MLP, D_MODEL),
            gate: None,
            output: linear("fc2", D_MODEL, D_MLP),
            activation: Activation::Relu,
            module: None,
            post_tap: None,
            config_keys: Vec::new(),
        };
        LayerSpec::sequential(
            String::new(),
            normed(
                norm(&path("self_attn_layer_norm")),
                heads.attention(products, String::new()),
                post_norm,
            ),
            normed(
                norm(&path("final_layer_norm")),
                MlpSpec::Dense(mlp),
                post_norm,
            ),
        )
    });
    let ends = StreamEnds {
        inner: DECODER,
        ..StreamEnds::usual(D_VOCAB, D_MODEL, true)
    };
    let last = norm("final_layer_norm");
    let mut spec = ends.model("OPT", Some(N_CTX), layers.collect(), last);
    spec.final_norm = spec.final_norm.filter(|_| !post_norm);
    spec.embedding.positions = Some(positions(DECODER, "embed_positions.weight", 2));
    spec
}

fn normed<T>(norm: NormSpec, body: T, post_norm: bool) -> Branch<T> {
    let branch = Branch::pre_norm(norm.clone(), body);
    if !post_norm {
        return branch;
    }
    Branch {
        input: BranchInput::Stream,
        sum_norm: Some(norm),
        ..branch
    }
}

/// As many heads as there are slopes, four channels each.
pub(super) fn bloom(slopes: &[f64], residual: ResidualSource) -> ModelSpec {
    let d_model = 4 * slopes.len();
    let heads = Heads::sharing(d_model, slopes.len(), 4);
    let norm = |path: &str| TRANSFORMER.layer_norm(path, d_model, 1e-5, &[]);
    let layers = (0..2).map(|index| {
        let path = |name: &str| format!("h.{index}.{name}");
        let linear = |name: &str, outputs| {
            TRANSFORMER.linear(
                &path(&format!("self_attention.{name}")),
                outputs,
                d_model,
                true,
            )
        };
        let fused = FusedHeads {
            product: linear("query_key_value", 3 * d_model),
            heads,
        };
        let attention = AttentionSpec {
            position: PositionSpec::Alibi(AlibiSpec {
                slopes: slopes.to_vec(),
            }),
            ..fused.attention(linear("dense", d_model), String::new())
        };
        let names = MlpNames {
            input: "dense_h_to_4h",
            activation: "gelu_impl",
            output: "dense_4h_to_h",
        };
        let widths = [d_model, 4 * d_model];
        let mlp = TRANSFORMER.mlp(&path("mlp"), names, widths, Activation::GeluTanh, true, &[]);
        LayerSpec::sequential(
            String::new(),
            Branch {
                residual,
                ..Branch::pre_norm(norm(&path("input_layernorm")), attention)
            },
            Branch {
                residual,
                ..Branch::pre_norm(norm(&path("post_attention_layernorm")), MlpSpec::Dense(mlp))
            },
        )
    });
    let ends = StreamEnds {
        inner: TRANSFORMER,
        embedding: "word_embeddings",
        ..StreamEnds::usual(D_VOCAB, d_model, true)
    };
    let embedding = EmbeddingSpec {
        norm: Some(norm("word_embeddings_layernorm")),
        ..ends.embedding()
    };
    ModelSpec {
        embedding,
        ..ends.model("Bloom", None, layers.collect(), norm("ln_f"))
    }
}
