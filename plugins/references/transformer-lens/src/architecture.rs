//! HookedTransformer's config of a spec.

use serde::Serialize;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, Branch, BranchInput, DenseMlp, LayerSpec, Mask, MlpSpec, NormKind,
    NormSpec, PositionSpec, ResidualSource, Wiring,
};
use tlbench_sdk::{ModelSpec, PluginError};

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
    /// Of layers of the same kind and size alone: LayerNorm, learned positions, plain attention and a dense MLP.
    pub(crate) fn of(spec: &ModelSpec) -> Result<Self, PluginError> {
        let embedding = &spec.embedding;
        refuse(
            "embed",
            embedding.positions.is_none(),
            "no learned positions",
        )?;
        refuse("embed", embedding.scale.is_some(), "an embedding scale")?;
        refuse("embed", embedding.norm.is_some(), "a norm of the embedding")?;
        refuse(
            "unembed",
            spec.unembed.logit_scale != 1.0,
            "a scale of the logits",
        )?;
        refuse(
            "unembed",
            spec.unembed.softcap.is_some(),
            "a softcap of the logits",
        )?;
        let layers = spec.layers.iter().enumerate();
        let layers = layers.map(|(index, layer)| Layer::of(&format!("blocks.{index}"), layer));
        let layers: Vec<Layer<'_>> = layers.collect::<Result<_, _>>()?;
        let (Some(first), Some(final_norm)) = (layers.first(), &spec.final_norm) else {
            return Err(unsupported("the model", "no layer, or no final norm"));
        };
        layer_norm("ln_final", final_norm)?;
        for (index, layer) in layers.iter().enumerate() {
            let block = format!("blocks.{index}");
            refuse(
                &block,
                layer.sizes() != first.sizes(),
                "other sizes than the first block",
            )?;
            let norms = [layer.norms[0].eps, layer.norms[1].eps];
            refuse(
                &block,
                norms != [final_norm.eps; 2],
                "norms with another epsilon than the last one",
            )?;
        }
        let scale = first.attn.scale;
        Ok(Self {
            n_layers: layers.len(),
            d_model: spec.d_model,
            n_ctx: spec
                .n_ctx
                .ok_or_else(|| unsupported("the model", "no limit of its context"))?,
            d_head: first.attn.d_head,
            n_heads: first.attn.n_heads,
            d_mlp: first.mlp.d_mlp,
            d_vocab: spec.d_vocab,
            d_vocab_out: spec.unembed.d_vocab_out,
            act_fn: activation(first.mlp.activation)?,
            eps: final_norm.eps,
            attn_scale: 1.0 / scale,
            scale_attn_by_inverse_layer_idx: is_scaled_by_layer(&layers, scale)?,
        })
    }
}

struct Layer<'a> {
    attn: &'a AttentionSpec,
    mlp: &'a DenseMlp,
    norms: [&'a NormSpec; 2],
}

impl<'a> Layer<'a> {
    fn of(block: &str, layer: &'a LayerSpec) -> Result<Self, PluginError> {
        refuse(
            block,
            layer.wiring == Wiring::Parallel,
            "parallel attention and MLP",
        )?;
        let (Some(attn), Some(mlp)) = (&layer.attn, &layer.mlp) else {
            return Err(unsupported(block, "no attention, or no MLP"));
        };
        let norms = [
            branch(&format!("{block}.attn"), attn)?,
            branch(&format!("{block}.mlp"), mlp)?,
        ];
        attention(&format!("{block}.attn"), &attn.body)?;
        let MlpSpec::Dense(mlp) = &mlp.body else {
            return Err(unsupported(&format!("{block}.mlp"), "a mixture of experts"));
        };
        refuse(&format!("{block}.mlp"), mlp.gate.is_some(), "a gated MLP")?;
        Ok(Self {
            attn: &attn.body,
            mlp,
            norms,
        })
    }

    fn sizes(&self) -> (usize, usize, usize, Activation) {
        let (attn, mlp) = (self.attn, self.mlp);
        (attn.n_heads, attn.d_head, mlp.d_mlp, mlp.activation)
    }
}

/// The norm of its input.
fn branch<'a, T>(name: &str, branch: &'a Branch<T>) -> Result<&'a NormSpec, PluginError> {
    refuse(
        name,
        branch.output_norm.is_some(),
        "a norm of a branch's output",
    )?;
    refuse(name, branch.sum_norm.is_some(), "a norm of the sum")?;
    refuse(
        name,
        branch.output_scale != 1.0,
        "a scale of a branch's output",
    )?;
    refuse(
        name,
        branch.residual != ResidualSource::Stream,
        "a residual taken after the norm",
    )?;
    let BranchInput::Norm(norm) = &branch.input else {
        return Err(unsupported(name, "a branch without a norm of its own"));
    };
    layer_norm(name, norm)?;
    Ok(norm)
}

fn layer_norm(name: &str, norm: &NormSpec) -> Result<(), PluginError> {
    refuse(name, norm.kind != NormKind::LayerNorm, "an RMS norm")
}

fn attention(name: &str, spec: &AttentionSpec) -> Result<(), PluginError> {
    refuse(
        name,
        spec.n_kv_heads != spec.n_heads,
        "fewer key and value heads than query heads",
    )?;
    refuse(name, spec.clip_qkv.is_some(), "clipping of q, k and v")?;
    refuse(name, spec.qk_norm.is_some(), "norms of queries and keys")?;
    refuse(
        name,
        spec.position != PositionSpec::None,
        "positions inside attention",
    )?;
    refuse(name, spec.softcap.is_some(), "a softcap of the scores")?;
    refuse(name, spec.sinks.is_some(), "attention sinks")?;
    refuse(
        name,
        spec.mask != Mask::CAUSAL,
        "a mask that is not the causal one",
    )
}

fn activation(activation: Activation) -> Result<&'static str, PluginError> {
    match activation {
        Activation::Gelu => Ok("gelu"),
        Activation::GeluTanh => Ok("gelu_new"),
        Activation::Silu => Ok("silu"),
        Activation::Relu => Ok("relu"),
        Activation::QuickGelu | Activation::ReluSquared | Activation::ClampedSwiglu { .. } => {
            Err(unsupported(
                "mlp",
                "an activation that HookedTransformer is not given here",
            ))
        }
    }
}

/// Whether scores of layer `l` are divided by `l + 1`, the only way in which scales may differ.
fn is_scaled_by_layer(layers: &[Layer<'_>], scale: f64) -> Result<bool, PluginError> {
    let is_near = |found: f64, expected: f64| (found - expected).abs() <= 1e-12 * expected.abs();
    let mut all = layers.iter().enumerate();
    if all.all(|(_, layer)| is_near(layer.attn.scale, scale)) {
        return Ok(false);
    }
    let mut all = layers.iter().enumerate();
    if all.all(|(index, layer)| is_near(layer.attn.scale, scale / (index + 1) as f64)) {
        return Ok(true);
    }
    Err(unsupported(
        "attn",
        "scales of the scores that differ from layer to layer",
    ))
}

fn refuse(component: &str, asked: bool, feature: &str) -> Result<(), PluginError> {
    if asked {
        Err(unsupported(component, feature))
    } else {
        Ok(())
    }
}

fn unsupported(component: &str, feature: &str) -> PluginError {
    PluginError::unsupported(format!(
        "{component}: {feature} is not asked of TransformerLens by transformer-lens"
    ))
}
