//! Llama, and what is a change of it.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionBias, AttentionSpec, Branch, BranchInput, EmbeddingScale, Extent,
    HeadNorms, Heads, InnerModel, LayerSpec, Mask, MlpSpec, NormKind, NormOrder, NormSpec, Pairing,
    PositionSpec, RotaryScaling, RotarySpec, StreamEnds,
};

use super::{D_MLP, D_MODEL, D_VOCAB, N_CTX};

pub(super) const MODEL: InnerModel = InnerModel("model");

/// Heads that are together wider than the stream.
const WIDE: Heads = Heads {
    n_heads: 4,
    n_kv_heads: 2,
    d_head: 6,
    d_model: D_MODEL,
};

pub(super) const GROUPED: Heads = Heads { d_head: 4, ..WIDE };

pub(super) fn rotary(dim: usize, scaling: RotaryScaling) -> PositionSpec {
    PositionSpec::Rotary(RotarySpec {
        dim,
        pairing: Pairing::Half,
        theta: 100.0,
        scaling,
    })
}

pub(super) fn rms(path: &str, width: usize, eps: f64) -> NormSpec {
    MODEL.rms_norm(path, width, eps, &[])
}

/// A family of Llama's build.
pub(super) struct Build {
    pub(super) heads: Heads,
    pub(super) attention_bias: AttentionBias,
    pub(super) mlp_bias: bool,
    pub(super) eps: f64,
    pub(super) tied: bool,
}

impl Build {
    pub(super) fn plain(heads: Heads, eps: f64) -> Self {
        Self {
            heads,
            attention_bias: false.into(),
            mlp_bias: false,
            eps,
            tied: false,
        }
    }

    /// The model, each layer of which was changed by `edit`.
    pub(super) fn model(&self, edit: impl Fn(&str, &mut LayerSpec)) -> ModelSpec {
        let layers = (0..2).map(|index| {
            let path = format!("layers.{index}");
            let mut layer = self.layer(&path);
            edit(&path, &mut layer);
            layer
        });
        let ends = StreamEnds::usual(D_VOCAB, D_MODEL, self.tied);
        let norm = rms("norm", D_MODEL, self.eps);
        ends.model("Llama", Some(N_CTX), layers.collect(), norm)
    }

    fn layer(&self, path: &str) -> LayerSpec {
        let norm = |name: &str| rms(&format!("{path}.{name}"), D_MODEL, self.eps);
        let attention = AttentionSpec {
            position: rotary(self.heads.d_head, RotaryScaling::None),
            ..MODEL.attention(
                &format!("{path}.self_attn"),
                self.heads,
                self.attention_bias,
            )
        };
        let mlp = MODEL.gated_mlp(
            &format!("{path}.mlp"),
            [D_MODEL, D_MLP],
            Activation::Silu,
            self.mlp_bias,
            &[],
        );
        LayerSpec::sequential(
            MODEL.module(path),
            Branch::pre_norm(norm("input_layernorm"), attention),
            Branch::pre_norm(norm("post_attention_layernorm"), MlpSpec::Dense(mlp)),
        )
    }
}

pub(super) fn attn(layer: &mut LayerSpec) -> &mut Branch<AttentionSpec> {
    layer.attn.as_mut().unwrap()
}

pub(super) fn mlp(layer: &mut LayerSpec) -> &mut Branch<MlpSpec> {
    layer.mlp.as_mut().unwrap()
}

/// Llama with biases everywhere.
pub(super) fn scaled(scaling: &RotaryScaling) -> ModelSpec {
    let build = Build {
        attention_bias: true.into(),
        mlp_bias: true,
        ..Build::plain(WIDE, 1e-5)
    };
    build.model(|_, layer| attn(layer).body.position = rotary(6, scaling.clone()))
}

pub(super) fn yarn(truncate: bool, attention_factor: f64) -> ModelSpec {
    scaled(&RotaryScaling::Yarn {
        factor: 4.0,
        original_n_ctx: 16,
        beta_fast: 2.0,
        beta_slow: 0.5,
        attention_factor,
        truncate,
    })
}

/// Stretched by 4, of which HuggingFace makes the factor sqrt(1 + ln 4 / ln `original_n_ctx`).
pub(super) fn longrope(original_n_ctx: usize) -> ModelSpec {
    scaled(&RotaryScaling::LongRope {
        short_factors: vec![1.0, 1.1, 1.2],
        long_factors: vec![1.5, 2.0, 4.0],
        original_n_ctx,
        attention_factor: (1.0 + 4.0_f64.ln() / (original_n_ctx as f64).ln()).sqrt(),
    })
}

pub(super) fn mistral() -> ModelSpec {
    Build::plain(WIDE, 1e-5).model(|_, layer| attn(layer).body.mask = Mask::sliding(3))
}

pub(super) fn qwen3() -> ModelSpec {
    let build = Build {
        attention_bias: true.into(),
        ..Build::plain(WIDE, 1e-5)
    };
    build.model(|path, layer| {
        attn(layer).body.qk_norm = Some(norms(path, WIDE, Extent::Head, ["q_norm", "k_norm"]));
    })
}

/// Norms of what the branches write, and none of what they read.
pub(super) fn olmo2() -> ModelSpec {
    Build::plain(GROUPED, 1e-5).model(|path, layer| {
        let output = |name: &str| Some(rms(&format!("{path}.{name}"), D_MODEL, 1e-5));
        let branch = attn(layer);
        branch.input = BranchInput::Stream;
        branch.output_norm = output("post_attention_layernorm");
        let names = ["q_norm", "k_norm"];
        branch.body.qk_norm = Some(norms(path, GROUPED, Extent::AllHeads, names));
        mlp(layer).input = BranchInput::Stream;
        mlp(layer).output_norm = output("post_feedforward_layernorm");
    })
}

pub(super) fn hunyuan() -> ModelSpec {
    Build::plain(WIDE, 1e-5).model(|path, layer| {
        let names = ["query_layernorm", "key_layernorm"];
        attn(layer).body.qk_norm = Some(HeadNorms {
            order: NormOrder::AfterRotary,
            ..norms(path, WIDE, Extent::Head, names)
        });
    })
}

/// LayerNorms without gain and bias.
pub(super) fn olmo() -> ModelSpec {
    let bare = |path: &str| NormSpec {
        kind: NormKind::LayerNorm,
        gain: None,
        ..rms(path, D_MODEL, 1e-5)
    };
    let spec = Build::plain(GROUPED, 1e-5).model(|path, layer| {
        attn(layer).input = BranchInput::Norm(bare(path));
        mlp(layer).input = BranchInput::Norm(bare(path));
        attn(layer).body.clip_qkv = Some(0.85);
    });
    ModelSpec {
        final_norm: Some(bare("norm")),
        ..spec
    }
}

pub(super) fn granite() -> ModelSpec {
    let mut spec = Build::plain(GROUPED, 1e-6).model(|_, layer| {
        attn(layer).body.scale = 0.7;
        attn(layer).output_scale = 0.3;
        mlp(layer).output_scale = 0.3;
    });
    spec.embedding.scale = Some(scale(3.0));
    spec.unembed.logit_scale = 1.0 / 2.5;
    spec
}

pub(super) fn gemma2() -> ModelSpec {
    let build = Build {
        tied: true,
        ..Build::plain(WIDE, 1e-6)
    };
    let norm = |path: &str| NormSpec {
        gain_offset: 1.0,
        ..rms(path, D_MODEL, 1e-6)
    };
    let mut spec = build.model(|path, layer| {
        let named = |name: &str| norm(&format!("{path}.{name}"));
        let branch = attn(layer);
        branch.input = BranchInput::Norm(named("input_layernorm"));
        branch.output_norm = Some(named("post_attention_layernorm"));
        branch.body.scale = 1.0 / 3.0;
        branch.body.softcap = Some(0.7);
        if path == "layers.0" {
            branch.body.mask = Mask::sliding(3);
        }
        let branch = mlp(layer);
        branch.input = BranchInput::Norm(named("pre_feedforward_layernorm"));
        branch.output_norm = Some(named("post_feedforward_layernorm"));
        if let MlpSpec::Dense(dense) = &mut branch.body {
            dense.activation = Activation::GeluTanh;
        }
    });
    spec.embedding.scale = Some(scale((D_MODEL as f64).sqrt()));
    spec.final_norm = Some(norm("norm"));
    spec.unembed.softcap = Some(1.5);
    spec
}

fn scale(value: f64) -> EmbeddingScale {
    EmbeddingScale {
        value,
        rounded_to_weights: false,
    }
}

fn norms(path: &str, heads: Heads, extent: Extent, [q, k]: [&str; 2]) -> HeadNorms {
    heads.norms(extent, |name, width| {
        let name = if name == "q_norm" { q } else { k };
        rms(&format!("{path}.self_attn.{name}"), width, 1e-5)
    })
}
