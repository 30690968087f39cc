//! HookedTransformer's config of a spec.

use serde::Serialize;
use tlbench_sdk::spec::{Activation, AttentionSpec, DenseMlp, LayerSpec, MlpSpec, NormSpec};
use tlbench_sdk::{ModelSpec, PluginError};

use crate::refusal::{refuse_beyond_gpt2, unsupported};

/// The fields of a `HookedTransformerConfig` that depend on the architecture, under its names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Architecture {
    n_layers: usize,
    d_model: usize,
    n_ctx: usize,
    d_head: usize,
    n_heads: usize,
    d_mlp: usize,
    d_vocab: usize,
    d_vocab_out: usize,
    act_fn: &'static str,
    eps: f64,
    attn_scale: f64,
    scale_attn_by_inverse_layer_idx: bool,
}

impl Architecture {
    /// Of layers that are alike: the config has one of each number.
    pub(crate) fn of(spec: &ModelSpec) -> Result<Self, PluginError> {
        refuse_beyond_gpt2(spec)?;
        let layers: Option<Vec<Layer<'_>>> = spec.layers.iter().map(Layer::of).collect();
        let layers = layers.ok_or_else(|| unsupported("blocks", "a block of another kind"))?;
        let (Some(first), Some(final_norm), Some(n_ctx)) =
            (layers.first(), &spec.final_norm, spec.n_ctx)
        else {
            return Err(unsupported(
                "the model",
                "no block, no final norm or no limit of its context",
            ));
        };
        let (attn, mlp) = (first.attn, first.mlp);
        refuse_unlike(&layers, final_norm)?;
        Ok(Self {
            n_layers: layers.len(),
            d_model: spec.d_model,
            n_ctx,
            d_head: attn.d_head,
            n_heads: attn.n_heads,
            d_mlp: mlp.d_mlp,
            d_vocab: spec.d_vocab,
            d_vocab_out: spec.unembed.d_vocab_out,
            act_fn: name_of(mlp.activation)?,
            eps: final_norm.eps,
            attn_scale: 1.0 / attn.scale,
            scale_attn_by_inverse_layer_idx: is_scaled_by_layer(&layers, attn.scale)?,
        })
    }
}

struct Layer<'a> {
    attn: &'a AttentionSpec,
    mlp: &'a DenseMlp,
    norms: [&'a NormSpec; 2],
}

impl<'a> Layer<'a> {
    fn of(layer: &'a LayerSpec) -> Option<Self> {
        let (attn, mlp) = (layer.attn.as_ref()?, layer.mlp.as_ref()?);
        let MlpSpec::Dense(dense) = &mlp.body else {
            return None;
        };
        Some(Self {
            attn: &attn.body,
            mlp: dense,
            norms: [attn.input_norm()?, mlp.input_norm()?],
        })
    }

    const fn sizes(&self) -> [usize; 3] {
        [self.attn.n_heads, self.attn.d_head, self.mlp.d_mlp]
    }
}

fn refuse_unlike(layers: &[Layer<'_>], final_norm: &NormSpec) -> Result<(), PluginError> {
    for (index, layer) in layers.iter().enumerate() {
        let block = format!("blocks.{index}");
        let (sizes, activation) = (layers[0].sizes(), layers[0].mlp.activation);
        if layer.sizes() != sizes || layer.mlp.activation != activation {
            return Err(unsupported(&block, "a block unlike the first one"));
        }
        if layer.norms.iter().any(|norm| norm.eps != final_norm.eps) {
            let feature = "a norm with another epsilon than the last one";
            return Err(unsupported(&block, feature));
        }
    }
    Ok(())
}

fn name_of(activation: Activation) -> Result<&'static str, PluginError> {
    match activation {
        Activation::Gelu => Ok("gelu"),
        Activation::GeluTanh => Ok("gelu_new"),
        Activation::Silu => Ok("silu"),
        Activation::Relu => Ok("relu"),
        Activation::QuickGelu | Activation::ReluSquared | Activation::ClampedSwiglu { .. } => {
            let feature = "an activation that HookedTransformer does not have";
            Err(unsupported("blocks.0.mlp", feature))
        }
    }
}

/// Whether scores of layer `l` are divided by `l + 1`, the only way in which scales may differ.
fn is_scaled_by_layer(layers: &[Layer<'_>], scale: f64) -> Result<bool, PluginError> {
    let are = |expected: fn(f64, usize) -> f64| {
        layers.iter().enumerate().all(|(index, layer)| {
            let expected = expected(scale, index);
            (layer.attn.scale - expected).abs() <= 1e-12 * expected.abs()
        })
    };
    if are(|scale, _| scale) {
        Ok(false)
    } else if are(|scale, layer| scale / (layer + 1) as f64) {
        Ok(true)
    } else {
        let feature = "scales of the scores that differ from layer to layer";
        Err(unsupported("blocks", feature))
    }
}
