//! Mixtral: Llama's attention behind a sliding window, and experts, which checkpoints name differently from modules.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    Activation, Branch, DenseMlp, LayerSpec, Mask, MlpSpec, MoeSpec, ProjectionSpec, Renormalise,
    RotaryScaling, RouterScore, ScoreOrder, Wiring,
};
use tlbench_sdk::{ModelSpec, hooks};

use crate::llama;
use crate::parts::{keys, rms_norm, rotary, stored};

const D_MODEL: usize = 48;
const D_HEAD: usize = 10;
const D_MLP: usize = 84;
const N_EXPERTS: usize = 4;
const TOP_K: usize = 2;
const WINDOW: usize = 12;
const EPS: f64 = 1e-5;

pub(crate) fn spec() -> ModelSpec {
    ModelSpec {
        architecture: "MixtralForCausalLM".into(),
        n_ctx: Some(4096),
        layers: (0..2).map(layer).collect(),
        ignored_tensors: Vec::new(),
        ..llama::spec()
    }
}

fn layer(index: usize) -> LayerSpec {
    let path = format!("model.layers.{index}");
    let norm = |name: &str| rms_norm(&format!("{path}.{name}"), D_MODEL, EPS);
    let position = rotary(D_HEAD, 1e6, RotaryScaling::None);
    let mut attention = llama::attention(
        &format!("{path}.self_attn"),
        position,
        Mask::sliding(WINDOW),
    );
    attention.config_keys = keys(&[
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "rope_parameters",
        "sliding_window",
    ]);
    LayerSpec {
        wiring: Wiring::Sequential,
        attn: Some(Branch::pre_norm(norm("input_layernorm"), attention)),
        mlp: Some(Branch::pre_norm(
            norm("post_attention_layernorm"),
            MlpSpec::Moe(experts(&path)),
        )),
        module: Some(path),
        taps: BTreeMap::new(),
    }
}

fn experts(layer: &str) -> MoeSpec {
    let path = format!("{layer}.block_sparse_moe");
    MoeSpec {
        router: stored_linear(&format!("{path}.gate"), N_EXPERTS, D_MODEL),
        choice_bias: None,
        score: RouterScore::Softmax,
        order: ScoreOrder::BeforeTopK,
        top_k: TOP_K,
        renormalise: Renormalise::Yes,
        routed_scale: 1.0,
        experts: (0..N_EXPERTS)
            .map(|index| expert(&format!("{path}.experts.{index}")))
            .collect(),
        shared: None,
        module: Some(format!("{layer}.mlp")),
        config_keys: keys(&[
            "intermediate_size",
            "hidden_act",
            "num_local_experts",
            "num_experts_per_tok",
        ]),
    }
}

fn expert(path: &str) -> DenseMlp {
    DenseMlp {
        d_mlp: D_MLP,
        input: stored_linear(&format!("{path}.w3"), D_MLP, D_MODEL),
        gate: Some(stored_linear(&format!("{path}.w1"), D_MLP, D_MODEL)),
        output: stored_linear(&format!("{path}.w2"), D_MODEL, D_MLP),
        activation: Activation::Silu,
        // HF keeps all experts in one tensor, and has no module for any.
        module: None,
        post_tap: None,
        config_keys: Vec::new(),
    }
}

/// A `Linear` on disk that HF shows under no module of that name.
fn stored_linear(path: &str, outputs: usize, inputs: usize) -> ProjectionSpec {
    ProjectionSpec {
        weight: stored(&format!("{path}.weight"), &[outputs, inputs]),
        bias: None,
        tap: None,
    }
}

#[test]
fn of_all_hooks_the_choices_of_experts_hold_integers() {
    let hooks = hooks(&spec());
    let integers = hooks.iter().filter(|hook| hook.holds_integers());
    let names: Vec<&str> = integers.map(|hook| hook.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "blocks.0.mlp.hook_expert_indices",
            "blocks.1.mlp.hook_expert_indices"
        ]
    );
}
