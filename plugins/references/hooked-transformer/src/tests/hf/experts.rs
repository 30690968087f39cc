//! Mixtures of four experts, two for each token.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, Cut, DenseMlp, Extent, Heads, MlpSpec, MoeSpec, ProjectionSpec, Renormalise,
    RouterScore, ScoreOrder, TensorSource,
};

use super::llama::{Build, GROUPED, MODEL, attn, mlp, rms};
use super::{D_MLP, D_MODEL};

const EXPERTS: usize = 4;

/// Mixtral's way to choose, among the experts that `expert` makes of their numbers.
fn moe(router: ProjectionSpec, expert: impl Fn(usize) -> DenseMlp) -> MoeSpec {
    MoeSpec {
        router,
        choice_bias: None,
        score: RouterScore::Softmax,
        order: ScoreOrder::BeforeTopK,
        top_k: 2,
        renormalise: Renormalise::Yes,
        routed_scale: 1.0,
        experts: (0..EXPERTS).map(expert).collect(),
        shared: None,
        module: None,
        config_keys: Vec::new(),
    }
}

fn expert([gate, input, output]: [ProjectionSpec; 3]) -> DenseMlp {
    DenseMlp {
        d_mlp: D_MLP,
        input,
        gate: Some(gate),
        output,
        activation: Activation::Silu,
        module: None,
        post_tap: None,
        config_keys: Vec::new(),
    }
}

fn router(path: &str) -> ProjectionSpec {
    MODEL.linear(path, EXPERTS, D_MODEL, false)
}

pub(super) fn mixtral() -> ModelSpec {
    Build::plain(GROUPED, 1e-5).model(|path, layer| {
        let path = format!("{path}.block_sparse_moe");
        let linear = |index: usize, name: &str, outputs, inputs| {
            let path = format!("{path}.experts.{index}.{name}");
            MODEL.linear(&path, outputs, inputs, false)
        };
        let moe = moe(router(&format!("{path}.gate")), |index| {
            expert([
                linear(index, "w1", D_MLP, D_MODEL),
                linear(index, "w3", D_MLP, D_MODEL),
                linear(index, "w2", D_MODEL, D_MLP),
            ])
        });
        mlp(layer).body = MlpSpec::Moe(moe);
    })
}

fn named_as_llama(path: &str) -> DenseMlp {
    MODEL.gated_mlp(path, [D_MODEL, D_MLP], Activation::Silu, false, &[])
}

fn of_llama_like(path: &str) -> MoeSpec {
    moe(router(&format!("{path}.mlp.gate")), |index| {
        named_as_llama(&format!("{path}.mlp.experts.{index}"))
    })
}

/// Weights that do not sum to 1, behind clipped heads that are normed together.
pub(super) fn olmoe() -> ModelSpec {
    Build::plain(GROUPED, 1e-5).model(|path, layer| {
        let norm = |name: &str, width| rms(&format!("{path}.self_attn.{name}"), width, 1e-5);
        let body = &mut attn(layer).body;
        body.qk_norm = Some(GROUPED.norms(Extent::AllHeads, norm));
        body.clip_qkv = Some(0.85);
        mlp(layer).body = MlpSpec::Moe(MoeSpec {
            renormalise: Renormalise::No,
            ..of_llama_like(path)
        });
    })
}

/// A softmax of the two best, whose experts are stored as one tensor, behind scores that no width divides.
pub(super) fn granite_moe() -> ModelSpec {
    Build::plain(GROUPED, 1e-6).model(|path, layer| {
        attn(layer).body.scale = 1.0;
        let path = format!("{path}.block_sparse_moe");
        let moe = moe(router(&format!("{path}.router.layer")), |index| {
            let part = |name: &str, [rows, columns]: [usize; 2], start, len| {
                let whole = [EXPERTS, rows, columns];
                let weight = MODEL.tensor(&format!("{path}.{name}.weight"), whole);
                ProjectionSpec {
                    weight: one_of(weight, index, [rows, columns]).cut(Cut::Slice {
                        dim: 0,
                        start,
                        len,
                    }),
                    bias: None,
                    tap: None,
                }
            };
            let inner = [2 * D_MLP, D_MODEL];
            expert([
                part("input_linear", inner, 0, D_MLP),
                part("input_linear", inner, D_MLP, D_MLP),
                part("output_linear", [D_MODEL, D_MLP], 0, D_MODEL),
            ])
        });
        mlp(layer).body = MlpSpec::Moe(MoeSpec {
            order: ScoreOrder::AfterTopK,
            renormalise: Renormalise::No,
            ..moe
        });
    })
}

/// The matrix of one expert.
fn one_of(all: TensorSource, index: usize, [rows, columns]: [usize; 2]) -> TensorSource {
    let slice = Cut::Slice {
        dim: 0,
        start: index,
        len: 1,
    };
    let shape = vec![rows, columns];
    all.cut(slice).cut(Cut::Reshape { shape })
}

/// Sigmoids, a bias for the choice alone, a factor, and an expert for every token.
pub(super) fn glm4_moe() -> ModelSpec {
    let heads = Heads {
        d_head: 6,
        ..GROUPED
    };
    Build::plain(heads, 1e-5).model(|path, layer| {
        let bias = format!("{path}.mlp.gate.e_score_correction_bias");
        let shared = named_as_llama(&format!("{path}.mlp.shared_experts"));
        mlp(layer).body = MlpSpec::Moe(MoeSpec {
            score: RouterScore::Sigmoid,
            choice_bias: Some(MODEL.tensor(&bias, [EXPERTS])),
            routed_scale: 1.7,
            shared: Some(Box::new(shared)),
            ..of_llama_like(path)
        });
    })
}
