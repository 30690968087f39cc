//! Mixtral: Llama's attention behind a sliding window, and experts, which checkpoints name differently from modules.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, ExpertNames, Experts, InnerModel, LayerSpec, Mask, MlpSpec,
    MoeSpec, Renormalise, RotaryScaling, config_keys,
};
use tlbench_sdk::{ModelSpec, hooks};

use crate::llama::{self, norm, rotary};

const INNER: InnerModel = InnerModel("model");
const D_MODEL: usize = 48;
const D_HEAD: usize = 10;
const WINDOW: usize = 12;

pub(crate) fn spec() -> ModelSpec {
    ModelSpec {
        architecture: "MixtralForCausalLM".into(),
        n_ctx: Some(4096),
        layers: (0..2).map(layer).collect(),
        ..llama::spec()
    }
}

fn layer(index: usize) -> LayerSpec {
    let block = format!("layers.{index}");
    let attention = attention(&format!("{block}.self_attn"));
    let mlp = MlpSpec::Moe(experts(&block));
    LayerSpec::sequential(
        INNER.module(&block),
        Branch::pre_norm(norm(&format!("{block}.input_layernorm")), attention),
        Branch::pre_norm(norm(&format!("{block}.post_attention_layernorm")), mlp),
    )
}

fn attention(path: &str) -> AttentionSpec {
    AttentionSpec {
        mask: Mask::sliding(WINDOW),
        config_keys: config_keys(&[
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "rope_parameters",
            "sliding_window",
        ]),
        ..llama::attention(path, rotary(D_HEAD, 1e6, RotaryScaling::None))
    }
}

fn experts(block: &str) -> MoeSpec {
    let experts = Experts {
        names: ExpertNames {
            bodies: &["block_sparse_moe"],
            gate: "w1",
            input: "w3",
            output: "w2",
        },
        count: 4,
        top_k: 2,
        d_model: D_MODEL,
        d_mlp: 84,
        activation: Activation::Silu,
        config_keys: &[
            "intermediate_size",
            "hidden_act",
            "num_local_experts",
            "num_experts_per_tok",
        ],
    };
    MoeSpec {
        renormalise: Renormalise::Yes,
        ..INNER.experts(block, &experts)
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
