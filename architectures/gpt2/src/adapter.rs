//! From GPT-2's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, Cut, DenseMlp, EmbeddingSpec, Heads, HfTap, InnerModel,
    LayerSpec, Mask, MlpSpec, ModelSpec, NormSpec, PositionTable, ProjectionSpec, StreamEnds,
    TapStep, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

/// The adapter for GPT-2.
pub(crate) struct Gpt2;

impl ArchitectureAdapter for Gpt2 {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "gpt2".into(),
            description: "GPT-2 (GPT2LMHeadModel)".into(),
            model_types: vec!["gpt2".into()],
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

/// Keys of `GPT2Config` without influence on the logits: training, other heads than the language model's, and the
/// order of operations (`reorder_and_upcast_attn`). Nothing reads `n_ctx`, which original checkpoints have.
const NEUTRAL: &[&str] = &[
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "n_ctx",
    "reorder_and_upcast_attn",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
];

const MODEL: InnerModel = InnerModel("transformer");

/// What `config.json` says, with the defaults of HF's `GPT2Config`.
struct Hyper {
    d_vocab: usize,
    n_ctx: usize,
    n_layers: usize,
    heads: Heads,
    d_mlp: usize,
    activation: Activation,
    eps: f64,
    scaled: bool,
    scaled_by_layer: bool,
    causal: bool,
    tied: bool,
}

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        // HF's `attribute_map` lets the general spelling overwrite GPT-2's own, so it is looked up first.
        let d_model = config.size_or(&["hidden_size", "n_embd"], 768)?;
        let n_heads = config.size_or(&["num_attention_heads", "n_head"], 12)?;
        let d_head = config.d_head(("n_embd", d_model), ("n_head", n_heads))?;
        if config.flag_or(&["add_cross_attention"], false)? {
            let expected = "false, as there is no encoder to attend to";
            return Err(ConfigError::new("add_cross_attention", expected, "true"));
        }
        Ok(Self {
            d_vocab: config.size_or(&["vocab_size"], 50257)?,
            n_ctx: config.size_or(&["max_position_embeddings", "n_positions"], 1024)?,
            n_layers: config.size_or(&["num_hidden_layers", "n_layer"], 12)?,
            heads: Heads::sharing(d_model, n_heads, d_head),
            d_mlp: config.size_or(&["n_inner"], 4 * d_model)?,
            activation: config.activation_or(&["activation_function"], "gelu_new")?,
            eps: config.number_or(&["layer_norm_epsilon"], 1e-5)?,
            scaled: config.flag_or(&["scale_attn_weights"], true)?,
            scaled_by_layer: config.flag_or(&["scale_attn_by_inverse_layer_idx"], false)?,
            // No field of `GPT2Config`, but HF's mask function asks every config for it.
            causal: config.flag_or(&["is_causal"], true)?,
            tied: config.flag_or(&["tie_word_embeddings"], true)?,
        })
    }

    fn model(&self) -> ModelSpec {
        let d_model = self.heads.d_model;
        let ends = StreamEnds {
            inner: MODEL,
            embedding: "wte",
            config_keys: &["vocab_size", "n_embd", "tie_word_embeddings"],
            ..StreamEnds::usual(self.d_vocab, d_model, self.tied)
        };
        let layers = (0..self.n_layers).map(|index| self.layer(index)).collect();
        ModelSpec {
            embedding: EmbeddingSpec {
                positions: Some(PositionTable {
                    table: MODEL.tensor("wpe.weight", [self.n_ctx, d_model]),
                    offset: 0,
                    module: Some(MODEL.module("wpe")),
                    config_keys: config_keys(&["n_positions", "n_embd"]),
                }),
                ..ends.embedding()
            },
            // Masks, which older releases saved as buffers of the attention.
            ignored_tensors: vec!["*.attn.bias".into(), "*.attn.masked_bias".into()],
            ..ends.model(
                "GPT2LMHeadModel",
                Some(self.n_ctx),
                layers,
                self.norm("ln_f"),
            )
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("h.{index}");
        let attention = self.attention(index, &format!("{block}.attn"));
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec::sequential(
            MODEL.module(&block),
            Branch::pre_norm(self.norm(&format!("{block}.ln_1")), attention),
            Branch::pre_norm(self.norm(&format!("{block}.ln_2")), mlp),
        )
    }

    fn attention(&self, index: usize, path: &str) -> AttentionSpec {
        let per_width = if self.scaled { self.heads.d_head } else { 1 };
        let per_layer = if self.scaled_by_layer { index + 1 } else { 1 };
        let d_model = self.heads.d_model;
        let part = |nth| self.part_of_c_attn(&format!("{path}.c_attn"), nth);
        let out = conv1d(&format!("{path}.c_proj"), d_model, d_model);
        AttentionSpec {
            scale: 1.0 / (per_width as f64).sqrt() / per_layer as f64,
            mask: Mask::Band {
                back: None,
                ahead: self.causal.then_some(0),
            },
            config_keys: config_keys(&[
                "n_embd",
                "n_head",
                "scale_attn_weights",
                "scale_attn_by_inverse_layer_idx",
                "is_causal",
            ]),
            ..self
                .heads
                .attention([part(0), part(1), part(2), out], MODEL.module(path))
        }
    }

    /// Queries, keys or values: `c_attn` puts them side by side.
    fn part_of_c_attn(&self, path: &str, nth: usize) -> ProjectionSpec {
        let width = self.heads.d_model;
        let start = nth * width;
        let slice = |dim| Cut::Slice {
            dim,
            start,
            len: width,
        };
        let weight = MODEL.tensor(&format!("{path}.weight"), [width, 3 * width]);
        let bias = MODEL.tensor(&format!("{path}.bias"), [3 * width]);
        ProjectionSpec {
            weight: weight.cut(slice(1)).cut(Cut::Transpose),
            bias: Some(bias.cut(slice(0))),
            tap: Some(HfTap::output(MODEL.module(path)).step(TapStep::Slice { start, len: width })),
        }
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        DenseMlp {
            d_mlp: self.d_mlp,
            input: conv1d(&format!("{path}.c_fc"), self.heads.d_model, self.d_mlp),
            gate: None,
            output: conv1d(&format!("{path}.c_proj"), self.d_mlp, self.heads.d_model),
            activation: self.activation,
            module: Some(MODEL.module(path)),
            post_tap: Some(HfTap::output(MODEL.module(&format!("{path}.act")))),
            config_keys: config_keys(&["n_embd", "n_inner", "activation_function"]),
        }
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["n_embd", "layer_norm_epsilon"];
        MODEL.layer_norm(path, self.heads.d_model, self.eps, &keys)
    }
}

/// A `Conv1D`: stored as `[in, out]`.
fn conv1d(path: &str, inputs: usize, outputs: usize) -> ProjectionSpec {
    ProjectionSpec {
        weight: MODEL
            .tensor(&format!("{path}.weight"), [inputs, outputs])
            .cut(Cut::Transpose),
        bias: Some(MODEL.tensor(&format!("{path}.bias"), [outputs])),
        tap: Some(HfTap::output(MODEL.module(path))),
    }
}
