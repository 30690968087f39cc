//! From Bloom's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec,
    FusedHeads, Heads, HfTap, InnerModel, LayerSpec, Mask, MlpNames, MlpSpec, ModelSpec, NormSpec,
    PositionSpec, ResidualSource, StreamEnds, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

/// The adapter for Bloom.
pub(crate) struct Bloom;

impl ArchitectureAdapter for Bloom {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "bloom".into(),
            description: "Bloom (BloomForCausalLM)".into(),
            model_types: vec!["bloom".into()],
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

/// Keys without influence on the logits: dropout, the length and layout of training, and the order of operations.
/// HF reads none of those that only original checkpoints have.
const NEUTRAL: &[&str] = &[
    "attention_dropout",
    "attention_softmax_in_fp32",
    "bias_dropout_fusion",
    "hidden_dropout",
    "masked_softmax_fusion",
    "offset_alibi",
    "pretraining_tp",
    "seq_length",
    "skip_bias_add",
    "skip_bias_add_qkv",
    "slow_but_exact",
    "unk_token_id",
];

/// What `config.json` says, with the defaults of HF's `BloomConfig`.
struct Hyper {
    d_vocab: usize,
    n_layers: usize,
    heads: Heads,
    eps: f64,
    residual: ResidualSource,
    causal: bool,
    tied: bool,
}

const MODEL: InnerModel = InnerModel("transformer");

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        // The older spelling of the width wins, as HF lets it overwrite the other.
        let d_model = config.size_or(&["n_embed", "hidden_size"], 64)?;
        let n_heads = config.size_or(&["num_attention_heads", "n_head"], 8)?;
        let d_head = config.d_head(("hidden_size", d_model), ("n_head", n_heads))?;
        let post_norm = config.flag_or(&["apply_residual_connection_post_layernorm"], false)?;
        Ok(Self {
            d_vocab: config.size_or(&["vocab_size"], 250_880)?,
            n_layers: config.size_or(&["num_hidden_layers", "n_layer"], 2)?,
            heads: Heads::sharing(d_model, n_heads, d_head),
            eps: config.number_or(&["layer_norm_epsilon"], 1e-5)?,
            residual: if post_norm {
                ResidualSource::Input
            } else {
                ResidualSource::Stream
            },
            // No field of `BloomConfig`, but HF's mask function asks every config for it.
            causal: config.flag_or(&["is_causal"], true)?,
            tied: config.flag_or(&["tie_word_embeddings"], true)?,
        })
    }

    fn model(&self) -> ModelSpec {
        let ends = StreamEnds {
            inner: MODEL,
            embedding: "word_embeddings",
            ..StreamEnds::usual(self.d_vocab, self.heads.d_model, self.tied)
        };
        let layers = (0..self.n_layers).map(|index| self.layer(index)).collect();
        ModelSpec {
            embedding: EmbeddingSpec {
                norm: Some(self.norm("word_embeddings_layernorm")),
                ..ends.embedding()
            },
            ..ends.model("BloomForCausalLM", None, layers, self.norm("ln_f"))
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("h.{index}");
        let (attn, mlp) = (format!("{block}.self_attention"), format!("{block}.mlp"));
        let fused = self.fused(&attn);
        LayerSpec {
            taps: fused
                .taps()
                .into_iter()
                .chain(Self::taps(&attn, &mlp))
                .collect(),
            ..LayerSpec::sequential(
                MODEL.module(&block),
                self.branch(
                    self.norm(&format!("{block}.input_layernorm")),
                    self.attention(&attn, &fused),
                ),
                self.branch(
                    self.norm(&format!("{block}.post_attention_layernorm")),
                    MlpSpec::Dense(self.mlp(&mlp)),
                ),
            )
        }
    }

    fn branch<T>(&self, norm: NormSpec, body: T) -> Branch<T> {
        Branch {
            residual: self.residual,
            ..Branch::pre_norm(norm, body)
        }
    }

    /// A branch's output is seen before its module adds the residual.
    fn taps(attn: &str, mlp: &str) -> [(String, HfTap); 2] {
        let output = |path: String| HfTap::output(MODEL.module(&path));
        [
            ("hook_attn_out".to_owned(), output(format!("{attn}.dense"))),
            (
                "hook_mlp_out".to_owned(),
                output(format!("{mlp}.dense_4h_to_h")),
            ),
        ]
    }

    fn fused(&self, attn: &str) -> FusedHeads {
        let path = format!("{attn}.query_key_value");
        let d_model = self.heads.d_model;
        FusedHeads {
            product: MODEL.linear(&path, 3 * d_model, d_model, true),
            heads: self.heads,
        }
    }

    fn attention(&self, path: &str, fused: &FusedHeads) -> AttentionSpec {
        let d_model = self.heads.d_model;
        let out = MODEL.linear(&format!("{path}.dense"), d_model, d_model, true);
        AttentionSpec {
            position: PositionSpec::Alibi(AlibiSpec {
                slopes: alibi_slopes(self.heads.n_heads),
            }),
            mask: Mask::Band {
                back: None,
                ahead: self.causal.then_some(0),
            },
            port: AttentionPort::Operations,
            config_keys: config_keys(&[
                "hidden_size",
                "n_head",
                "is_causal",
                "apply_residual_connection_post_layernorm",
            ]),
            ..fused.attention(out, MODEL.module(path))
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let names = MlpNames {
            input: "dense_h_to_4h",
            activation: "gelu_impl",
            output: "dense_4h_to_h",
        };
        let sizes = [self.heads.d_model, 4 * self.heads.d_model];
        let keys = ["hidden_size", "apply_residual_connection_post_layernorm"];
        MODEL.mlp(path, names, sizes, Activation::GeluTanh, true, &keys)
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["hidden_size", "layer_norm_epsilon"];
        MODEL.layer_norm(path, self.heads.d_model, self.eps, &keys)
    }
}

/// A geometric series for the largest power of two among the heads, and every other member of the next finer one for
/// the rest.
fn alibi_slopes(n_heads: usize) -> Vec<f64> {
    let power = 1 << n_heads.ilog2();
    // The series for `count` heads ends at 2^-8.
    let slope = |nth: usize, count: usize| (-8.0 * nth as f64 / count as f64).exp2();
    let coarse = (1..=power).map(|nth| slope(nth, power));
    let finer = (0..n_heads - power).map(|nth| slope(2 * nth + 1, 2 * power));
    coarse.chain(finer).collect()
}
