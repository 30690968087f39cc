//! What tells the families apart.

use tlbench_sdk::spec::{ExpertNames, Extent};
use tlbench_sdk::{HeadDefaults, HeadWidth};

/// A family, with the defaults of HF's config class.
pub(crate) struct Family {
    /// HF's class.
    pub(crate) class: &'static str,
    pub(crate) d_vocab: usize,
    pub(crate) d_mlp: usize,
    pub(crate) n_layers: usize,
    pub(crate) heads: HeadDefaults,
    pub(crate) n_ctx: usize,
    pub(crate) eps: f64,
    pub(crate) theta: f64,
    pub(crate) n_experts: usize,
    pub(crate) top_k: usize,
    /// The spellings of the number of experts; the one that wins goes first.
    pub(crate) n_experts_keys: [&'static str; 2],
    /// The key of an expert's width, and its default; `None`: `intermediate_size`.
    pub(crate) d_expert: Option<(&'static str, usize)>,
    /// The key that says whether the chosen weights are divided by their sum; `None`: they are.
    pub(crate) renormalise: Option<&'static str>,
    pub(crate) expert_names: ExpertNames<'static>,
    /// Which layers have experts.
    pub(crate) sparse: Sparse,
    /// The key that says whether the products of attention have a bias; `None`: they have none.
    pub(crate) bias: Option<&'static str>,
    /// The key of the bound on queries, keys and values, for a family that has one.
    pub(crate) clip_qkv: Option<&'static str>,
    /// What the norms of queries and keys run over, where there are any.
    pub(crate) head_norms: Option<Extent>,
    pub(crate) windows: Windows,
    /// Config keys of attention and of experts that not all families have.
    pub(crate) attention_keys: &'static [&'static str],
    pub(crate) expert_keys: &'static [&'static str],
}

/// Which layers have experts.
#[derive(Clone, Copy)]
pub(crate) enum Sparse {
    EveryLayer,
    /// One in `decoder_sparse_step`, but for those that `mlp_only_layers` names.
    Some,
}

/// Whether layers look through a window, all of them alike.
#[derive(Clone, Copy)]
pub(crate) enum Windows {
    None,
    /// Unless `sliding_window` is absent or `null`.
    EveryLayer,
    /// Where `use_sliding_window` says so.
    Asked,
}

pub(crate) const MIXTRAL: Family = Family {
    class: "MixtralForCausalLM",
    d_vocab: 32_000,
    d_mlp: 14_336,
    n_layers: 32,
    heads: HeadDefaults {
        d_model: 4096,
        n_heads: 32,
        n_kv_heads: Some(8),
        d_head: HeadWidth::ShareRoundedDown,
    },
    n_ctx: 131_072,
    eps: 1e-5,
    theta: 1e6,
    n_experts: 8,
    top_k: 2,
    n_experts_keys: ["num_experts", "num_local_experts"],
    d_expert: None,
    renormalise: None,
    expert_names: ExpertNames {
        bodies: &["block_sparse_moe", "mlp"],
        gate: "w1",
        input: "w3",
        output: "w2",
    },
    sparse: Sparse::EveryLayer,
    bias: None,
    clip_qkv: None,
    head_norms: None,
    windows: Windows::EveryLayer,
    attention_keys: &["head_dim", "sliding_window"],
    expert_keys: &["intermediate_size"],
};

pub(crate) const OLMOE: Family = Family {
    class: "OlmoeForCausalLM",
    d_vocab: 50_304,
    d_mlp: 2048,
    n_layers: 16,
    heads: HeadDefaults {
        d_model: 2048,
        n_heads: 16,
        n_kv_heads: None,
        // Norms over all heads would not fit another.
        d_head: HeadWidth::Share,
    },
    n_ctx: 4096,
    theta: 10_000.0,
    n_experts: 64,
    top_k: 8,
    n_experts_keys: ["num_local_experts", "num_experts"],
    renormalise: Some("norm_topk_prob"),
    expert_names: ExpertNames::USUAL,
    bias: Some("attention_bias"),
    clip_qkv: Some("clip_qkv"),
    head_norms: Some(Extent::AllHeads),
    windows: Windows::None,
    attention_keys: &["attention_bias", "clip_qkv"],
    expert_keys: &["intermediate_size", "norm_topk_prob"],
    ..MIXTRAL
};

pub(crate) const QWEN3: Family = Family {
    class: "Qwen3MoeForCausalLM",
    d_vocab: 151_936,
    d_mlp: 6144,
    n_layers: 24,
    heads: HeadDefaults {
        d_model: 2048,
        n_kv_heads: Some(4),
        ..MIXTRAL.heads
    },
    n_ctx: 32_768,
    eps: 1e-6,
    n_experts: 128,
    d_expert: Some(("moe_intermediate_size", 768)),
    sparse: Sparse::Some,
    clip_qkv: None,
    head_norms: Some(Extent::Head),
    windows: Windows::Asked,
    attention_keys: &[
        "head_dim",
        "attention_bias",
        "use_sliding_window",
        "sliding_window",
    ],
    expert_keys: &[
        "moe_intermediate_size",
        "norm_topk_prob",
        "mlp_only_layers",
        "decoder_sparse_step",
    ],
    ..OLMOE
};
