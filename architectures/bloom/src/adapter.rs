//! From Bloom's `config.json` to its spec.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    Activation, AlibiSpec, AttentionPort, AttentionSpec, Branch, Cut, DenseMlp, EmbeddingSpec,
    HfTap, InnerModel, LayerSpec, Mask, MlpSpec, ModelSpec, NormSpec, PositionSpec, ProjectionSpec,
    ResidualSource, TapStep, TensorSource, UnembedSpec, Wiring, config_keys,
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
        if !d_model.is_multiple_of(n_heads) {
            let expected = format!("a multiple of n_head = {n_heads}");
            return Err(ConfigError::new(
                "hidden_size",
                expected,
                d_model.to_string(),
            ));
        }
        let post_norm = config.flag_or(&["apply_residual_connection_post_layernorm"], false)?;
        Ok(Self {
            d_vocab: config.size_or(&["vocab_size"], 250_880)?,
            d_model,
            n_layers: config.size_or(&["num_hidden_layers", "n_layer"], 2)?,
            n_heads,
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
            embedding: self.embedding(),
            layers: (0..self.n_layers).map(|index| self.layer(index)).collect(),
            final_norm: Some(self.norm("ln_f")),
            unembed: self.unembed(),
            ignored_tensors: Vec::new(),
        }
    }

    fn embedding(&self) -> EmbeddingSpec {
        let mut tokens = MODEL.tensor("word_embeddings.weight", [self.d_vocab, self.d_model]);
        if self.tied {
            // HF ties in both directions.
            tokens.names.push("lm_head.weight".into());
        }
        EmbeddingSpec {
            tokens,
            module: Some(MODEL.module("word_embeddings")),
            scale: None,
            positions: None,
            norm: Some(self.norm("word_embeddings_layernorm")),
            config_keys: config_keys(&["vocab_size", "hidden_size", "tie_word_embeddings"]),
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("h.{index}");
        let (attn, mlp) = (format!("{block}.self_attention"), format!("{block}.mlp"));
        LayerSpec {
            wiring: Wiring::Sequential,
            attn: Some(self.branch(
                self.norm(&format!("{block}.input_layernorm")),
                self.attention(&attn),
            )),
            mlp: Some(self.branch(
                self.norm(&format!("{block}.post_attention_layernorm")),
                MlpSpec::Dense(self.mlp(&mlp)),
            )),
            module: Some(MODEL.module(&block)),
            taps: self.taps(&attn, &mlp),
        }
    }

    fn branch<T>(&self, norm: NormSpec, body: T) -> Branch<T> {
        Branch {
            residual: self.residual,
            ..Branch::pre_norm(norm, body)
        }
    }

    /// A branch's output is seen before its module adds the residual, and heads come apart before queries, keys and
    /// values do.
    fn taps(&self, attn: &str, mlp: &str) -> BTreeMap<String, HfTap> {
        let part = |nth| {
            let sizes = vec![self.n_heads, 3, self.d_head()];
            HfTap::output(MODEL.module(&format!("{attn}.query_key_value")))
                .step(TapStep::Split { sizes })
                .step(TapStep::Select {
                    dim: -2,
                    index: nth,
                })
        };
        let output = |path: String| HfTap::output(MODEL.module(&path));
        [
            ("attn.hook_q", part(0)),
            ("attn.hook_k", part(1)),
            ("attn.hook_v", part(2)),
            ("hook_attn_out", output(format!("{attn}.dense"))),
            ("hook_mlp_out", output(format!("{mlp}.dense_4h_to_h"))),
        ]
        .map(|(hook, tap)| (hook.to_owned(), tap))
        .into()
    }

    fn attention(&self, path: &str) -> AttentionSpec {
        let part = |nth| self.part_of_fused(&format!("{path}.query_key_value"), nth);
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_heads,
            d_head: self.d_head(),
            q: part(0),
            k: part(1),
            v: part(2),
            o: MODEL.linear(&format!("{path}.dense"), self.d_model, self.d_model, true),
            clip_qkv: None,
            qk_norm: None,
            position: PositionSpec::Alibi(AlibiSpec {
                slopes: alibi_slopes(self.n_heads),
            }),
            scale: 1.0 / (self.d_head() as f64).sqrt(),
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

    /// Queries, keys or values: the product yields `[n_heads, 3, d_head]`.
    fn part_of_fused(&self, path: &str, nth: usize) -> ProjectionSpec {
        let (heads, width) = (self.n_heads, self.d_model);
        let slice = Cut::Slice {
            dim: 1,
            start: nth,
            len: 1,
        };
        let shaped = |shape: &[usize]| Cut::Reshape {
            shape: shape.to_vec(),
        };
        let weight = MODEL
            .tensor(&format!("{path}.weight"), [3 * width, width])
            .cut(shaped(&[heads, 3, self.d_head(), width]))
            .cut(slice.clone())
            .cut(shaped(&[width, width]));
        let bias = MODEL
            .tensor(&format!("{path}.bias"), [3 * width])
            .cut(shaped(&[heads, 3, self.d_head()]))
            .cut(slice)
            .cut(shaped(&[width]));
        ProjectionSpec {
            weight,
            bias: Some(bias),
            tap: None,
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

    fn unembed(&self) -> UnembedSpec {
        // Where both are stored, HF keeps a tied head apart if it differs from the embedding.
        let shape = [self.d_vocab, self.d_model];
        let mut weight = TensorSource::new(["lm_head.weight"], shape);
        if self.tied {
            let tokens = MODEL.tensor("word_embeddings.weight", shape);
            weight.names.extend(tokens.names);
        }
        UnembedSpec {
            projection: ProjectionSpec {
                weight,
                bias: None,
                tap: Some(HfTap::output("lm_head")),
            },
            d_vocab_out: self.d_vocab,
            logit_scale: 1.0,
            softcap: None,
            config_keys: config_keys(&["vocab_size", "hidden_size", "tie_word_embeddings"]),
        }
    }

    fn d_head(&self) -> usize {
        self.d_model / self.n_heads
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
