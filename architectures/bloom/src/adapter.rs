//! From Bloom's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec,
    FusedHeads, HfTap, InnerModel, LayerSpec, Mask, MlpSpec, ModelSpec, NormSpec, PositionSpec,
    ResidualSource, StreamEnds, Wiring, config_keys,
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
    d_model: usize,
    n_layers: usize,
    n_heads: usize,
    d_head: usize,
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
        let post_norm = config.flag_or(&["apply_residual_connection_post_layernorm"], false)?;
        Ok(Self {
            d_vocab: config.size_or(&["vocab_size"], 250_880)?,
            d_model,
            n_layers: config.size_or(&["num_hidden_layers", "n_layer"], 2)?,
            n_heads,
            d_head: config.d_head(("hidden_size", d_model), ("n_head", n_heads))?,
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
        ModelSpec {
            architecture: "BloomForCausalLM".into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: None,
            embedding: EmbeddingSpec {
                norm: Some(self.norm("word_embeddings_layernorm")),
                ..self.ends().embedding()
            },
            layers: (0..self.n_layers).map(|index| self.layer(index)).collect(),
            final_norm: Some(self.norm("ln_f")),
            unembed: self.ends().unembed(),
            ignored_tensors: Vec::new(),
        }
    }

    fn ends(&self) -> StreamEnds<'static> {
        StreamEnds {
            inner: MODEL,
            embedding: "word_embeddings",
            head: &["lm_head.weight"],
            d_vocab: self.d_vocab,
            d_model: self.d_model,
            tied: self.tied,
            config_keys: &["vocab_size", "hidden_size", "tie_word_embeddings"],
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("h.{index}");
        let (attn, mlp) = (format!("{block}.self_attention"), format!("{block}.mlp"));
        let fused = self.fused(&attn);
        LayerSpec {
            wiring: Wiring::Sequential,
            attn: Some(self.branch(
                self.norm(&format!("{block}.input_layernorm")),
                self.attention(&attn, &fused),
            )),
            mlp: Some(self.branch(
                self.norm(&format!("{block}.post_attention_layernorm")),
                MlpSpec::Dense(self.mlp(&mlp)),
            )),
            module: Some(MODEL.module(&block)),
            taps: fused
                .taps()
                .into_iter()
                .chain(Self::taps(&attn, &mlp))
                .collect(),
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
        FusedHeads {
            product: MODEL.linear(&path, 3 * self.d_model, self.d_model, true),
            n_heads: self.n_heads,
            d_head: self.d_head,
            d_model: self.d_model,
        }
    }

    fn attention(&self, path: &str, fused: &FusedHeads) -> AttentionSpec {
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_heads,
            d_head: self.d_head,
            q: fused.part(0),
            k: fused.part(1),
            v: fused.part(2),
            o: MODEL.linear(&format!("{path}.dense"), self.d_model, self.d_model, true),
            clip_qkv: None,
            qk_norm: None,
            position: PositionSpec::Alibi(AlibiSpec {
                slopes: alibi_slopes(self.n_heads),
            }),
            scale: 1.0 / (self.d_head as f64).sqrt(),
            softcap: None,
            mask: Mask::Band {
                back: None,
                ahead: self.causal.then_some(0),
            },
            sinks: None,
            module: Some(MODEL.module(path)),
            port: AttentionPort::Operations,
            config_keys: config_keys(&[
                "hidden_size",
                "n_head",
                "is_causal",
                "apply_residual_connection_post_layernorm",
            ]),
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let d_mlp = 4 * self.d_model;
        DenseMlp {
            d_mlp,
            input: MODEL.linear(&format!("{path}.dense_h_to_4h"), d_mlp, self.d_model, true),
            gate: None,
            output: MODEL.linear(&format!("{path}.dense_4h_to_h"), self.d_model, d_mlp, true),
            activation: Activation::GeluTanh,
            module: Some(MODEL.module(path)),
            post_tap: Some(HfTap::output(MODEL.module(&format!("{path}.gelu_impl")))),
            config_keys: config_keys(&["hidden_size", "apply_residual_connection_post_layernorm"]),
        }
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["hidden_size", "layer_norm_epsilon"];
        MODEL.layer_norm(path, self.d_model, self.eps, &keys)
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
