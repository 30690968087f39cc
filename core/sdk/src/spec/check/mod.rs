//! What holds for the spec of every model, whatever the family.

mod attention;
mod mlp;
mod part;

use std::collections::BTreeSet;

use self::attention::attention;
use self::mlp::mlp;
use self::part::{Number, Part};
use super::{
    Branch, BranchInput, EmbeddingSpec, LayerSpec, ModelSpec, NormSpec, PositionTable, UnembedSpec,
};
use crate::hooks::hooks;

/// The most layers that a spec has; the deepest models have a few hundred.
const MOST_LAYERS: usize = 4096;

/// A spec that no model can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{component}: {field}: expected {expected}, found {found}")]
pub struct SpecError {
    /// The component, named as its hooks are; `model` for the model's own fields.
    pub component: String,
    /// The field.
    pub field: String,
    /// In words.
    pub expected: String,
    /// In words.
    pub found: String,
}

impl ModelSpec {
    /// Checks what holds for every model: counts are neither 0 nor absurd, numbers are finite and in their range, heads
    /// divide evenly, every tensor is cut to the shape that its component documents, and taps are of hooks that exist.
    ///
    /// It runs before a spec leaves a plugin, and again where it arrives.
    ///
    /// # Errors
    /// Names the first component and field that cannot be.
    pub fn check(&self) -> Result<(), SpecError> {
        let model = Part::new("model");
        model.text("architecture", &self.architecture)?;
        model.size("d_model", self.d_model)?;
        model.size("d_vocab", self.d_vocab)?;
        model.optional_size("n_ctx", self.n_ctx)?;
        model.require(self.layers.len() <= MOST_LAYERS, "layers", || {
            (format!("at most {MOST_LAYERS}"), self.layers.len())
        })?;
        model.texts("ignored_tensors", &self.ignored_tensors)?;
        embedding(self, &self.embedding)?;
        for (index, each) in self.layers.iter().enumerate() {
            layer(self.d_model, &format!("blocks.{index}"), each)?;
        }
        if let Some(spec) = &self.final_norm {
            norm("ln_final", spec, self.d_model)?;
        }
        unembed(self.d_model, &self.unembed)?;
        taps_of_hooks(self)
    }
}

fn embedding(spec: &ModelSpec, embedding: &EmbeddingSpec) -> Result<(), SpecError> {
    let part = Part::new("embed");
    part.source("weight", &embedding.tokens, &[spec.d_vocab, spec.d_model])?;
    part.optional_text("module", embedding.module.as_ref())?;
    part.texts("config_keys", &embedding.config_keys)?;
    if let Some(scale) = &embedding.scale {
        part.number("scale", scale.value, Number::AboveZero)?;
    }
    if let Some(positions) = &embedding.positions {
        position_table(spec.d_model, positions)?;
    }
    match &embedding.norm {
        Some(spec_of_norm) => norm("embed.ln", spec_of_norm, spec.d_model),
        None => Ok(()),
    }
}

fn position_table(d_model: usize, positions: &PositionTable) -> Result<(), SpecError> {
    let part = Part::new("pos_embed");
    let shape = part.cut_shape("weight", &positions.table)?;
    let rows = shape.first().copied().unwrap_or(0);
    part.require(
        shape == [rows, d_model] && rows > positions.offset,
        "weight",
        || {
            let expected = format!("shape [more than offset {}, {d_model}]", positions.offset);
            (expected, format!("{shape:?}"))
        },
    )?;
    part.optional_text("module", positions.module.as_ref())?;
    part.texts("config_keys", &positions.config_keys)
}

fn layer(d_model: usize, block: &str, layer: &LayerSpec) -> Result<(), SpecError> {
    let part = Part::new(block);
    part.optional_text("module", layer.module.as_ref())?;
    for (hook, tap) in &layer.taps {
        part.tap(&format!("taps: {}", crate::excerpt::excerpt(hook)), tap)?;
    }
    if let Some(spec) = &layer.attn {
        let shared = matches!(spec.input, BranchInput::SharedNorm);
        part.require(!shared, "attn: input", || {
            ("an input of its own, for the MLP to share", "shared_norm")
        })?;
        branch(d_model, block, "ln1", spec)?;
        attention(d_model, &format!("{block}.attn"), &spec.body)?;
    }
    if let Some(spec) = &layer.mlp {
        let shared = matches!(spec.input, BranchInput::SharedNorm);
        part.require(!shared || layer.attn.is_some(), "mlp: input", || {
            ("an attention branch whose norm is shared", "none")
        })?;
        branch(d_model, block, "ln2", spec)?;
        mlp(d_model, &format!("{block}.mlp"), &spec.body)?;
    }
    Ok(())
}

/// The norms around a branch's body, and its scale.
fn branch<T>(
    d_model: usize,
    block: &str,
    norm_name: &str,
    branch: &Branch<T>,
) -> Result<(), SpecError> {
    let norms = [
        (String::new(), branch.input_norm()),
        ("_post".to_owned(), branch.output_norm.as_ref()),
        ("_sum".to_owned(), branch.sum_norm.as_ref()),
    ];
    for (suffix, spec) in norms {
        if let Some(spec) = spec {
            norm(&format!("{block}.{norm_name}{suffix}"), spec, d_model)?;
        }
    }
    Part::new(block).number("output_scale", branch.output_scale, Number::Finite)
}

fn norm(name: &str, norm: &NormSpec, width: usize) -> Result<(), SpecError> {
    Part::new(name).norm("", norm, width)
}

fn unembed(d_model: usize, unembed: &UnembedSpec) -> Result<(), SpecError> {
    let part = Part::new("unembed");
    part.size("d_vocab_out", unembed.d_vocab_out)?;
    part.projection("", &unembed.projection, unembed.d_vocab_out, d_model)?;
    part.number("logit_scale", unembed.logit_scale, Number::AboveZero)?;
    part.optional_number("softcap", unembed.softcap, Number::AboveZero)?;
    part.texts("config_keys", &unembed.config_keys)
}

/// A tap that overrides nothing would be lost silently.
fn taps_of_hooks(spec: &ModelSpec) -> Result<(), SpecError> {
    if spec.layers.iter().all(|layer| layer.taps.is_empty()) {
        return Ok(());
    }
    let points = hooks(spec);
    let names: BTreeSet<&str> = points.iter().map(|point| point.name.as_str()).collect();
    for (index, layer) in spec.layers.iter().enumerate() {
        let block = format!("blocks.{index}");
        for hook in layer.taps.keys() {
            let exists = names.contains(format!("{block}.{hook}").as_str());
            Part::new(&block).require(exists, "taps", || {
                ("hooks of this block", crate::excerpt::excerpt(hook))
            })?;
        }
    }
    Ok(())
}
