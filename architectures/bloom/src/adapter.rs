//! From Bloom's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec, Heads,
    InnerModel, LayerSpec, Mask, MlpNames, MlpSpec, ModelSpec, NormSpec, PositionSpec,
    ResidualSource, StreamEnds, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

/// The adapter for Bloom.
pub(crate) struct Bloom;

impl ArchitectureAdapter for Bloom {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo::new("bloom", "Bloom (BloomForCausalLM)", &["bloom"])
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("transformer");

const MLP: MlpNames<'_> = MlpNames::new("dense_h_to_4h", "gelu_impl", "dense_4h_to_h");

/// Keys without influence on the logits: the layout of training, and the order of operations. HF reads none of those
/// that only original checkpoints have.
const NEUTRAL: &[&str] = &[
    "attention_softmax_in_fp32",
    "bias_dropout_fusion",
    "masked_softmax_fusion",
    "offset_alibi",
    "seq_length",
    "skip_bias_add",
    "skip_bias_add_qkv",
    "slow_but_exact",
];

/// What `config.json` says, with the defaults of HF's `BloomConfig`.
struct Hyper {
    ends: StreamEnds<'static>,
    n_layers: usize,
    heads: Heads,
    mask: Mask,
    eps: f64,
    residual: ResidualSource,
}

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        // The older spelling of the width wins, as HF lets it overwrite the other.
        let heads = config.sharing_heads(
            (&["n_embed", "hidden_size"], 64),
            (&["num_attention_heads", "n_head"], 8),
        )?;
        Ok(Self {
            ends: StreamEnds {
                inner: INNER,
                embedding: "word_embeddings",
                ..config.stream_ends(250_880, heads.d_model, true)?
            },
            n_layers: config.size_or(&["num_hidden_layers", "n_layer"], 2)?,
            heads,
            mask: config.causal_or_all()?,
            eps: config.number_or(&["layer_norm_epsilon"], 1e-5)?,
            residual: config.either(
                &["apply_residual_connection_post_layernorm"],
                false,
                [ResidualSource::Input, ResidualSource::Stream],
            )?,
        })
    }

    fn model(&self) -> ModelSpec {
        let layers = (0..self.n_layers).map(|index| self.layer(index)).collect();
        let (ends, final_norm) = (&self.ends, self.norm("ln_f"));
        ModelSpec {
            embedding: EmbeddingSpec {
                norm: Some(self.norm("word_embeddings_layernorm")),
                ..ends.embedding()
            },
            ..ends.model("BloomForCausalLM", None, layers, final_norm)
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("h.{index}");
        let norm = |name: &str| self.norm(&format!("{block}.{name}"));
        let attn = format!("{block}.self_attention");
        let (products, taps) = INNER.fused_attention(&attn, self.heads, true);
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        let layer = LayerSpec::sequential(
            INNER.module(&block),
            self.branch(norm("input_layernorm"), self.attention(products)),
            self.branch(norm("post_attention_layernorm"), mlp),
        );
        LayerSpec { taps, ..layer }.adding_residuals_within()
    }

    fn branch<T>(&self, norm: NormSpec, body: T) -> Branch<T> {
        Branch {
            residual: self.residual,
            ..Branch::pre_norm(norm, body)
        }
    }

    fn attention(&self, products: AttentionSpec) -> AttentionSpec {
        AttentionSpec {
            position: PositionSpec::Alibi(AlibiSpec::geometric(self.heads.n_heads)),
            mask: self.mask,
            port: AttentionPort::Operations,
            config_keys: config_keys(&[
                "hidden_size",
                "n_head",
                "is_causal",
                "apply_residual_connection_post_layernorm",
            ]),
            ..products
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let sizes = [self.heads.d_model, 4 * self.heads.d_model];
        let keys = ["hidden_size", "apply_residual_connection_post_layernorm"];
        INNER.mlp(path, MLP, sizes, Activation::GeluTanh, true, &keys)
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["hidden_size", "layer_norm_epsilon"];
        INNER.layer_norm(path, self.heads.d_model, self.eps, &keys)
    }
}
