//! From GPT-2's `config.json` to its spec.

use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, DenseMlp, EmbeddingSpec, Heads, HfTap, InnerModel,
    LayerSpec, Mask, MlpSpec, ModelSpec, NormSpec, StreamEnds, config_keys,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader};

/// The adapter for GPT-2.
pub(crate) struct Gpt2;

impl ArchitectureAdapter for Gpt2 {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo::new("gpt2", "GPT-2 (GPT2LMHeadModel)", &["gpt2"])
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(config)?.model())
    }
}

const INNER: InnerModel = InnerModel("transformer");

/// What `config.json` says, with the defaults of HF's `GPT2Config`.
struct Hyper {
    ends: StreamEnds<'static>,
    n_ctx: usize,
    n_layers: usize,
    heads: Heads,
    d_mlp: usize,
    activation: Activation,
    eps: f64,
    scaled: bool,
    scaled_by_layer: bool,
    mask: Mask,
}

impl Hyper {
    fn read(config: &ConfigReader) -> Result<Self, ConfigError> {
        // The order of operations, and what nothing reads in original checkpoints.
        config.neutral(&["reorder_and_upcast_attn", "n_ctx"]);
        config.refuse_true("add_cross_attention", "as there is no encoder to attend to")?;
        // HF's `attribute_map` lets the general spelling overwrite GPT-2's own, so it is looked up first.
        let heads = config.sharing_heads(
            (&["hidden_size", "n_embd"], 768),
            (&["num_attention_heads", "n_head"], 12),
        )?;
        Ok(Self {
            ends: StreamEnds {
                inner: INNER,
                embedding: "wte",
                config_keys: &["vocab_size", "n_embd", "tie_word_embeddings"],
                ..config.stream_ends(50257, heads.d_model, true)?
            },
            n_ctx: config.size_or(&["max_position_embeddings", "n_positions"], 1024)?,
            n_layers: config.size_or(&["num_hidden_layers", "n_layer"], 12)?,
            heads,
            d_mlp: config.size_or(&["n_inner"], 4 * heads.d_model)?,
            activation: config.activation_or(&["activation_function"], "gelu_new")?,
            eps: config.number_or(&["layer_norm_epsilon"], 1e-5)?,
            scaled: config.flag_or(&["scale_attn_weights"], true)?,
            scaled_by_layer: config.flag_or(&["scale_attn_by_inverse_layer_idx"], false)?,
            mask: config.causal_or_all()?,
        })
    }

    fn model(&self) -> ModelSpec {
        let layers = (0..self.n_layers).map(|index| self.layer(index)).collect();
        let (ends, n_ctx, final_norm) = (&self.ends, self.n_ctx, self.norm("ln_f"));
        let table = [n_ctx, self.heads.d_model];
        ModelSpec {
            embedding: EmbeddingSpec {
                positions: Some(INNER.positions("wpe", table, &["n_positions", "n_embd"])),
                ..ends.embedding()
            },
            // Masks, which older releases saved as buffers of the attention.
            ignored_tensors: vec!["*.attn.bias".into(), "*.attn.masked_bias".into()],
            ..ends.model("GPT2LMHeadModel", Some(n_ctx), layers, final_norm)
        }
    }

    fn layer(&self, index: usize) -> LayerSpec {
        let block = format!("h.{index}");
        let attention = self.attention(index, &format!("{block}.attn"));
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec::sequential(
            INNER.module(&block),
            Branch::pre_norm(self.norm(&format!("{block}.ln_1")), attention),
            Branch::pre_norm(self.norm(&format!("{block}.ln_2")), mlp),
        )
    }

    fn attention(&self, index: usize, path: &str) -> AttentionSpec {
        let d_model = self.heads.d_model;
        let [q, k, v] = INNER.conv1d_side_by_side(&format!("{path}.c_attn"), d_model, d_model);
        let o = INNER.conv1d(&format!("{path}.c_proj"), d_model, d_model);
        AttentionSpec {
            scale: self.scale(index),
            mask: self.mask,
            config_keys: config_keys(&[
                "n_embd",
                "n_head",
                "scale_attn_weights",
                "scale_attn_by_inverse_layer_idx",
                "is_causal",
            ]),
            ..self.heads.attention([q, k, v, o], INNER.module(path))
        }
    }

    fn scale(&self, index: usize) -> f64 {
        let per_width = if self.scaled { self.heads.d_head } else { 1 };
        let per_layer = if self.scaled_by_layer { index + 1 } else { 1 };
        1.0 / (per_width as f64).sqrt() / per_layer as f64
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        DenseMlp {
            d_mlp: self.d_mlp,
            input: INNER.conv1d(&format!("{path}.c_fc"), self.heads.d_model, self.d_mlp),
            gate: None,
            output: INNER.conv1d(&format!("{path}.c_proj"), self.d_mlp, self.heads.d_model),
            activation: self.activation,
            module: Some(INNER.module(path)),
            post_tap: Some(HfTap::output(INNER.module(&format!("{path}.act")))),
            config_keys: config_keys(&["n_embd", "n_inner", "activation_function"]),
        }
    }

    fn norm(&self, path: &str) -> NormSpec {
        let keys = ["n_embd", "layer_norm_epsilon"];
        INNER.layer_norm(path, self.heads.d_model, self.eps, &keys)
    }
}
