//! Llama 3: RMS norms, grouped queries, a gated MLP, and rotary positions stretched by wavelength.

use std::collections::BTreeMap;

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec, HfTap, LayerSpec,
    Mask, MlpSpec, PositionSpec, RotaryScaling, UnembedSpec, Wiring,
};

use crate::parts::{keys, linear, rms_norm, rotary, stored};

const D_MODEL: usize = 48;
const D_VOCAB: usize = 203;
const D_MLP: usize = 112;
const N_HEADS: usize = 6;
const N_KV_HEADS: usize = 2;
const D_HEAD: usize = 10;
const EPS: f64 = 1e-5;

pub(crate) fn spec() -> ModelSpec {
    ModelSpec {
        architecture: "LlamaForCausalLM".into(),
        d_model: D_MODEL,
        d_vocab: D_VOCAB,
        n_ctx: Some(131_072),
        embedding: EmbeddingSpec {
            tokens: stored("model.embed_tokens.weight", &[D_VOCAB, D_MODEL]),
            module: Some("model.embed_tokens".into()),
            scale: None,
            positions: None,
            norm: None,
            config_keys: keys(&["vocab_size", "hidden_size"]),
        },
        layers: (0..2).map(layer).collect(),
        final_norm: Some(rms_norm("model.norm", D_MODEL, EPS)),
        unembed: UnembedSpec {
            projection: linear("lm_head", D_VOCAB, D_MODEL, false),
            d_vocab_out: D_VOCAB,
            logit_scale: 1.0,
            softcap: None,
            config_keys: keys(&["vocab_size", "hidden_size", "tie_word_embeddings"]),
        },
        ignored_tensors: vec!["*.rotary_emb.inv_freq".into()],
    }
}

fn layer(index: usize) -> LayerSpec {
    let path = format!("model.layers.{index}");
    let norm = |name: &str| rms_norm(&format!("{path}.{name}"), D_MODEL, EPS);
    let mlp = MlpSpec::Dense(mlp(&format!("{path}.mlp")));
    LayerSpec {
        wiring: Wiring::Sequential,
        attn: Some(Branch::pre_norm(
            norm("input_layernorm"),
            attention(&format!("{path}.self_attn"), llama3(), Mask::CAUSAL),
        )),
        mlp: Some(Branch::pre_norm(norm("post_attention_layernorm"), mlp)),
        module: Some(path),
        taps: BTreeMap::new(),
    }
}

fn llama3() -> PositionSpec {
    let scaling = RotaryScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_n_ctx: 8192,
    };
    rotary(D_HEAD, 500_000.0, scaling)
}

/// Mixtral's is the same but for positions and mask.
pub(crate) fn attention(path: &str, position: PositionSpec, mask: Mask) -> AttentionSpec {
    let project =
        |name: &str, outputs, inputs| linear(&format!("{path}.{name}"), outputs, inputs, false);
    AttentionSpec {
        n_heads: N_HEADS,
        n_kv_heads: N_KV_HEADS,
        d_head: D_HEAD,
        q: project("q_proj", N_HEADS * D_HEAD, D_MODEL),
        k: project("k_proj", N_KV_HEADS * D_HEAD, D_MODEL),
        v: project("v_proj", N_KV_HEADS * D_HEAD, D_MODEL),
        o: project("o_proj", D_MODEL, N_HEADS * D_HEAD),
        clip_qkv: None,
        qk_norm: None,
        position,
        scale: 1.0 / (D_HEAD as f64).sqrt(),
        softcap: None,
        mask,
        sinks: None,
        module: Some(path.to_owned()),
        port: AttentionPort::Interface,
        config_keys: keys(&[
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "attention_bias",
            "rope_parameters",
        ]),
    }
}

fn mlp(path: &str) -> DenseMlp {
    let project =
        |name: &str, outputs, inputs| linear(&format!("{path}.{name}"), outputs, inputs, false);
    DenseMlp {
        d_mlp: D_MLP,
        input: project("up_proj", D_MLP, D_MODEL),
        gate: Some(project("gate_proj", D_MLP, D_MODEL)),
        output: project("down_proj", D_MODEL, D_MLP),
        activation: Activation::Silu,
        module: Some(path.to_owned()),
        post_tap: Some(HfTap::input(format!("{path}.down_proj"))),
        config_keys: keys(&["intermediate_size", "hidden_act", "mlp_bias"]),
    }
}
