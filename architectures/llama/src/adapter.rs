//! From the `config.json` of Llama and its kin to their spec.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, DenseMlp, EmbeddingSpec, Extent, HeadNorm,
    HeadNorms, HfTap, InnerModel, LayerSpec, Mask, MlpSpec, ModelSpec, NormOrder, NormSpec,
    PositionSpec, ProjectionSpec, RotaryScaling, RotarySpec, TensorSource, UnembedSpec, Wiring,
    config_keys,
};
use tlbench_sdk::{
    ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, LayerType, RotaryKeys,
};

use crate::family::{Family, HeadNorming, Windows};

/// The adapter for one of the families.
pub(crate) struct LlamaLike(pub(crate) Family);

impl ArchitectureAdapter for LlamaLike {
    fn info(&self) -> ArchitectureInfo {
        let Family {
            model_type, class, ..
        } = self.0;
        ArchitectureInfo {
            id: model_type.into(),
            description: class.into(),
            model_types: vec![model_type.into()],
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Ok(Hyper::read(&self.0, config)?.model())
    }
}

const INNER: InnerModel = InnerModel("model");

/// Keys without influence on the logits: training, and the order of operations (`pretraining_tp`).
const NEUTRAL: &[&str] = &["attention_dropout", "pretraining_tp"];

/// What `config.json` says, with the family's defaults.
struct Hyper<'a> {
    family: &'a Family,
    d_vocab: usize,
    d_model: usize,
    d_mlp: usize,
    n_ctx: usize,
    n_heads: usize,
    n_kv_heads: usize,
    d_head: usize,
    /// One per layer.
    masks: Vec<Mask>,
    rotary: RotarySpec,
    activation: Activation,
    eps: f64,
    qkv_bias: bool,
    o_bias: bool,
    mlp_bias: bool,
    tied: bool,
}

impl<'a> Hyper<'a> {
    fn read(family: &'a Family, config: &ConfigReader) -> Result<Self, ConfigError> {
        config.neutral(NEUTRAL);
        config.causal()?;
        let d_model = config.size_or(&["hidden_size"], 4096)?;
        let n_heads = config.size_or(&["num_attention_heads"], 32)?;
        let d_head = d_head(family, config, d_model, n_heads)?;
        let n_ctx = config.size_or(&["max_position_embeddings"], family.n_ctx)?;
        let n_layers = config.size_or(&["num_hidden_layers"], 32)?;
        Ok(Self {
            family,
            d_vocab: config.size_or(&["vocab_size"], family.d_vocab)?,
            d_model,
            d_mlp: config.size_or(&["intermediate_size"], family.d_mlp)?,
            n_ctx,
            n_heads,
            n_kv_heads: n_kv_heads(family, config, n_heads)?,
            d_head,
            masks: masks(family.windows, config, n_layers)?,
            rotary: rotary(config, d_head, n_ctx)?,
            activation: config.activation_or(&["hidden_act"], "silu")?,
            eps: config.number_or(&["rms_norm_eps"], 1e-6)?,
            qkv_bias: family.qkv_bias.read(config)?,
            o_bias: family.o_bias.read(config)?,
            mlp_bias: family.mlp_bias.read(config)?,
            tied: config.flag_or(&["tie_word_embeddings"], false)?,
        })
    }

    fn model(&self) -> ModelSpec {
        ModelSpec {
            architecture: self.family.class.into(),
            d_model: self.d_model,
            d_vocab: self.d_vocab,
            n_ctx: self.longest(),
            embedding: self.embedding(),
            layers: (0..)
                .zip(&self.masks)
                .map(|(n, &mask)| self.layer(n, mask))
                .collect(),
            final_norm: Some(self.norm("norm")),
            unembed: self.unembed(),
            // Wavelengths, which older releases saved.
            ignored_tensors: vec!["*.rotary_emb.inv_freq".into()],
        }
    }

    /// Positions that stretch with the sequence are made to go beyond the trained context.
    fn longest(&self) -> Option<usize> {
        match self.rotary.scaling {
            RotaryScaling::Dynamic { .. } => None,
            _ => Some(self.n_ctx),
        }
    }

    fn embedding(&self) -> EmbeddingSpec {
        let mut tokens = INNER.tensor("embed_tokens.weight", [self.d_vocab, self.d_model]);
        if self.tied {
            // HF ties in both directions.
            tokens.names.push("lm_head.weight".into());
        }
        EmbeddingSpec {
            tokens,
            module: Some(INNER.module("embed_tokens")),
            scale: None,
            positions: None,
            norm: None,
            config_keys: config_keys(&["vocab_size", "hidden_size", "tie_word_embeddings"]),
        }
    }

    fn layer(&self, index: usize, mask: Mask) -> LayerSpec {
        let block = format!("layers.{index}");
        let norm = |name: &str| self.norm(&format!("{block}.{name}"));
        let attention = self.attention(&format!("{block}.self_attn"), mask);
        let mlp = MlpSpec::Dense(self.mlp(&format!("{block}.mlp")));
        LayerSpec {
            wiring: Wiring::Sequential,
            attn: Some(Branch::pre_norm(norm("input_layernorm"), attention)),
            mlp: Some(Branch::pre_norm(norm("post_attention_layernorm"), mlp)),
            module: Some(INNER.module(&block)),
            taps: BTreeMap::new(),
        }
    }

    fn attention(&self, path: &str, mask: Mask) -> AttentionSpec {
        let (d_q, d_kv) = (self.n_heads * self.d_head, self.n_kv_heads * self.d_head);
        let from_stream = |name: &str, width| {
            INNER.linear(
                &format!("{path}.{name}"),
                width,
                self.d_model,
                self.qkv_bias,
            )
        };
        AttentionSpec {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head: self.d_head,
            q: from_stream("q_proj", d_q),
            k: from_stream("k_proj", d_kv),
            v: from_stream("v_proj", d_kv),
            o: INNER.linear(&format!("{path}.o_proj"), self.d_model, d_q, self.o_bias),
            clip_qkv: None,
            qk_norm: self.head_norms(path),
            position: PositionSpec::Rotary(self.rotary.clone()),
            scale: 1.0 / (self.d_head as f64).sqrt(),
            softcap: None,
            mask,
            sinks: None,
            module: Some(INNER.module(path)),
            port: AttentionPort::Interface,
            config_keys: self.attention_keys(),
        }
    }

    fn attention_keys(&self) -> Vec<String> {
        let own = ["num_attention_heads", "num_key_value_heads", "head_dim"];
        let windows: &[&str] = match self.family.windows {
            Windows::None => &[],
            Windows::EveryLayer => &["sliding_window"],
            Windows::Upper => &[
                "use_sliding_window",
                "sliding_window",
                "max_window_layers",
                "layer_types",
            ],
        };
        let keys = own
            .into_iter()
            .chain(self.family.o_bias.key())
            .chain(["rope_parameters", "rope_scaling", "rope_theta"])
            .chain(windows.iter().copied());
        keys.map(str::to_owned).collect()
    }

    fn head_norms(&self, path: &str) -> Option<HeadNorms> {
        let norm = |name: &str| HeadNorm {
            norm: INNER.rms_norm(
                &format!("{path}.{name}"),
                self.d_head,
                self.eps,
                &["head_dim", "rms_norm_eps"],
            ),
            extent: Extent::Head,
        };
        (self.family.head_norms == HeadNorming::BeforeRotary).then(|| HeadNorms {
            q: norm("q_norm"),
            k: norm("k_norm"),
            order: NormOrder::BeforeRotary,
        })
    }

    fn mlp(&self, path: &str) -> DenseMlp {
        let project = |name: &str, outputs, inputs| {
            INNER.linear(&format!("{path}.{name}"), outputs, inputs, self.mlp_bias)
        };
        let keys = ["intermediate_size", "hidden_act"].into_iter();
        DenseMlp {
            d_mlp: self.d_mlp,
            input: project("up_proj", self.d_mlp, self.d_model),
            gate: Some(project("gate_proj", self.d_mlp, self.d_model)),
            output: project("down_proj", self.d_model, self.d_mlp),
            activation: self.activation,
            module: Some(INNER.module(path)),
            post_tap: Some(HfTap::input(INNER.module(&format!("{path}.down_proj")))),
            config_keys: keys
                .chain(self.family.mlp_bias.key())
                .map(str::to_owned)
                .collect(),
        }
    }

    fn norm(&self, path: &str) -> NormSpec {
        INNER.rms_norm(
            path,
            self.d_model,
            self.eps,
            &["hidden_size", "rms_norm_eps"],
        )
    }

    fn unembed(&self) -> UnembedSpec {
        let shape = [self.d_vocab, self.d_model];
        // Where both are stored, HF keeps a tied head apart if it differs from the embedding.
        let mut weight = TensorSource::new(["lm_head.weight"], shape);
        if self.tied {
            weight
                .names
                .extend(INNER.tensor("embed_tokens.weight", shape).names);
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
}

fn d_head(
    family: &Family,
    config: &ConfigReader,
    d_model: usize,
    n_heads: usize,
) -> Result<usize, ConfigError> {
    let given = config.optional_size(&["head_dim"])?.or(family.d_head);
    if given.is_none() && !d_model.is_multiple_of(n_heads) {
        let expected = format!("a multiple of num_attention_heads = {n_heads}");
        return Err(ConfigError::new(
            "hidden_size",
            expected,
            d_model.to_string(),
        ));
    }
    Ok(given.unwrap_or(d_model / n_heads))
}

fn n_kv_heads(
    family: &Family,
    config: &ConfigReader,
    n_heads: usize,
) -> Result<usize, ConfigError> {
    let key = "num_key_value_heads";
    let default = family.n_kv_heads.filter(|_| !config.is_null(key));
    let n_kv_heads = config.size_or(&[key], default.unwrap_or(n_heads))?;
    if n_heads.is_multiple_of(n_kv_heads) {
        return Ok(n_kv_heads);
    }
    let expected = format!("a divisor of num_attention_heads = {n_heads}");
    Err(ConfigError::new(key, expected, n_kv_heads.to_string()))
}

fn masks(
    windows: Windows,
    config: &ConfigReader,
    n_layers: usize,
) -> Result<Vec<Mask>, ConfigError> {
    let window = |config: &ConfigReader| {
        let default = (!config.is_null("sliding_window")).then_some(4096);
        Ok(config.optional_size(&["sliding_window"])?.or(default))
    };
    match windows {
        Windows::None => Ok(vec![Mask::CAUSAL; n_layers]),
        Windows::EveryLayer => {
            let mask = window(config)?.map_or(Mask::CAUSAL, Mask::sliding);
            Ok(vec![mask; n_layers])
        }
        Windows::Upper => {
            let is_used = config.flag_or(&["use_sliding_window"], false)?;
            let window = window(config)?.filter(|_| is_used);
            let first = first_window(config)?;
            let by_index = |index| match window {
                Some(_) if index >= first => LayerType::Sliding,
                _ => LayerType::Full,
            };
            let types = config.layer_types(n_layers, by_index)?;
            types.into_iter().map(|kind| kind.mask(window)).collect()
        }
    }
}

/// The first layer with a window, which may be 0.
fn first_window(config: &ConfigReader) -> Result<usize, ConfigError> {
    config.count_or(&["max_window_layers"], 28)
}

/// HF's module rotates whole heads.
fn rotary(config: &ConfigReader, d_head: usize, n_ctx: usize) -> Result<RotarySpec, ConfigError> {
    let rotary = config.rotary(RotaryKeys::USUAL, d_head, n_ctx)?;
    if rotary.dim == d_head {
        return Ok(rotary);
    }
    let found = format!("a share that makes {} of {d_head} channels", rotary.dim);
    Err(ConfigError::new("partial_rotary_factor", "1", found))
}
