//! From the `config.json` of Llama and its kin to their spec.

use std::collections::BTreeMap;

use tlbench_sdk::spec::{
    Activation, AttentionPort, AttentionSpec, Branch, DenseMlp, Extent, HeadNorm, HeadNorms,
    InnerModel, LayerSpec, Mask, MlpSpec, ModelSpec, NormOrder, NormSpec, PositionSpec,
    RotaryScaling, RotarySpec, StreamEnds, Wiring,
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
            embedding: self.ends().embedding(),
            layers: (0..)
                .zip(&self.masks)
                .map(|(n, &mask)| self.layer(n, mask))
                .collect(),
            final_norm: Some(self.norm("norm")),
            unembed: self.ends().unembed(),
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

    fn ends(&self) -> StreamEnds<'static> {
        StreamEnds {
            inner: INNER,
            embedding: "embed_tokens",
            head: &["lm_head.weight"],
            d_vocab: self.d_vocab,
            d_model: self.d_model,
            tied: self.tied,
            config_keys: &["vocab_size", "hidden_size", "tie_word_embeddings"],
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
        let keys = ["intermediate_size", "hidden_act"].into_iter();
        let keys: Vec<&str> = keys.chain(self.family.mlp_bias.key()).collect();
        let sizes = [self.d_model, self.d_mlp];
        INNER.gated_mlp(path, sizes, self.activation, self.mlp_bias, &keys)
    }

    fn norm(&self, path: &str) -> NormSpec {
        INNER.rms_norm(
            path,
            self.d_model,
            self.eps,
            &["hidden_size", "rms_norm_eps"],
        )
    }
}

fn d_head(
    family: &Family,
    config: &ConfigReader,
    d_model: usize,
    n_heads: usize,
) -> Result<usize, ConfigError> {
    match config.optional_size(&["head_dim"])?.or(family.d_head) {
        Some(given) => Ok(given),
        None => config.d_head(("hidden_size", d_model), ("num_attention_heads", n_heads)),
    }
}

fn n_kv_heads(
    family: &Family,
    config: &ConfigReader,
    n_heads: usize,
) -> Result<usize, ConfigError> {
    let key = "num_key_value_heads";
    let default = family.n_kv_heads.unwrap_or(n_heads);
    let given = config.unless_null(key, |names| config.size_or(names, default))?;
    let n_kv_heads = given.unwrap_or(n_heads);
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
    let window = || config.unless_null("sliding_window", |names| config.size_or(names, 4096));
    match windows {
        Windows::None => Ok(vec![Mask::CAUSAL; n_layers]),
        Windows::EveryLayer => {
            let mask = window()?.map_or(Mask::CAUSAL, Mask::sliding);
            Ok(vec![mask; n_layers])
        }
        Windows::Upper => {
            let is_used = config.flag_or(&["use_sliding_window"], false)?;
            let window = window()?.filter(|_| is_used);
            let first = config.count_or(&["max_window_layers"], 28)?;
            let by_index = |index| match window {
                Some(_) if index >= first => LayerType::Sliding,
                _ => LayerType::Full,
            };
            let types = config.layer_types(n_layers, by_index)?;
            types.into_iter().map(|kind| kind.mask(window)).collect()
        }
    }
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
