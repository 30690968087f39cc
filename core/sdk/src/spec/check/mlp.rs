//! Feed-forward bodies.

use super::SpecError;
use super::part::{Number, Part};
use crate::spec::walk::join;
use crate::spec::{Activation, DenseMlp, MlpSpec, MoeSpec};

pub(super) fn mlp(d_model: usize, name: &str, mlp: &MlpSpec) -> Result<(), SpecError> {
    let part = Part::new(name);
    match mlp {
        MlpSpec::Dense(spec) => dense(&part, "", d_model, spec),
        MlpSpec::Moe(spec) => moe(&part, d_model, spec),
    }
}

fn dense(part: &Part<'_>, role: &str, d_model: usize, dense: &DenseMlp) -> Result<(), SpecError> {
    let width = dense.d_mlp;
    part.size(&join(role, "d_mlp"), width)?;
    part.projection(&join(role, "in"), &dense.input, width, d_model)?;
    if let Some(gate) = &dense.gate {
        part.projection(&join(role, "gate"), gate, width, d_model)?;
    }
    part.projection(&join(role, "out"), &dense.output, d_model, width)?;
    if let Activation::ClampedSwiglu { alpha, limit } = dense.activation {
        part.number(&join(role, "alpha"), alpha, Number::Finite)?;
        part.number(&join(role, "limit"), limit, Number::AboveZero)?;
    }
    if let Some(tap) = &dense.post_tap {
        part.module_tap(&join(role, "post_tap"), tap)?;
    }
    part.optional_text(&join(role, "module"), dense.module.as_ref())?;
    part.texts(&join(role, "config_keys"), &dense.config_keys)
}

fn moe(part: &Part<'_>, d_model: usize, moe: &MoeSpec) -> Result<(), SpecError> {
    let experts = moe.experts.len();
    let fits = (1..=experts).contains(&moe.top_k);
    part.require(fits, "top_k", || {
        (format!("from 1 to the {experts} experts"), moe.top_k)
    })?;
    part.projection("router", &moe.router, experts, d_model)?;
    if let Some(bias) = &moe.choice_bias {
        part.source("choice_bias", bias, &[experts])?;
    }
    part.number("routed_scale", moe.routed_scale, Number::AboveZero)?;
    for (index, expert) in moe.experts.iter().enumerate() {
        dense(part, &format!("experts.{index}"), d_model, expert)?;
    }
    if let Some(shared) = &moe.shared {
        dense(part, "shared", d_model, shared)?;
    }
    part.optional_text("module", moe.module.as_ref())?;
    part.texts("config_keys", &moe.config_keys)
}
