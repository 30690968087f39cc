//! Attention, and what tells positions apart inside it.

use super::SpecError;
use super::part::{Number, Part};
use crate::spec::{AttentionSpec, Extent, HeadNorm, Mask, PositionSpec, RotaryScaling, RotarySpec};

pub(super) fn attention(
    d_model: usize,
    name: &str,
    attention: &AttentionSpec,
) -> Result<(), SpecError> {
    let part = Part::new(name);
    heads(&part, attention)?;
    let (queries, keys) = (
        attention.n_heads * attention.d_head,
        attention.n_kv_heads * attention.d_head,
    );
    part.projection("q", &attention.q, queries, d_model)?;
    part.projection("k", &attention.k, keys, d_model)?;
    part.projection("v", &attention.v, keys, d_model)?;
    part.projection("o", &attention.o, d_model, queries)?;
    part.optional_number("clip_qkv", attention.clip_qkv, Number::AboveZero)?;
    if let Some(norms) = &attention.qk_norm {
        head_norm(&part, "q_norm", &norms.q, attention.d_head, queries)?;
        head_norm(&part, "k_norm", &norms.k, attention.d_head, keys)?;
    }
    position(&part, attention)?;
    part.number("scale", attention.scale, Number::AboveZero)?;
    part.optional_number("softcap", attention.softcap, Number::AboveZero)?;
    if let Mask::Chunked { size } = attention.mask {
        part.size("mask: size", size)?;
    }
    if let Some(sinks) = &attention.sinks {
        part.source("sinks", sinks, &[attention.n_heads])?;
    }
    part.optional_text("module", attention.module.as_ref())?;
    part.texts("config_keys", &attention.config_keys)
}

fn heads(part: &Part<'_>, attention: &AttentionSpec) -> Result<(), SpecError> {
    let (heads, kv_heads) = (attention.n_heads, attention.n_kv_heads);
    part.size("n_heads", heads)?;
    part.size("n_kv_heads", kv_heads)?;
    part.size("d_head", attention.d_head)?;
    part.require(heads.is_multiple_of(kv_heads), "n_heads", || {
        (format!("a multiple of n_kv_heads = {kv_heads}"), heads)
    })
}

fn head_norm(
    part: &Part<'_>,
    role: &str,
    norm: &HeadNorm,
    head: usize,
    all: usize,
) -> Result<(), SpecError> {
    let width = match norm.extent {
        Extent::Head => head,
        Extent::AllHeads => all,
    };
    part.norm(role, &norm.norm, width)
}

fn position(part: &Part<'_>, attention: &AttentionSpec) -> Result<(), SpecError> {
    match &attention.position {
        PositionSpec::None => Ok(()),
        PositionSpec::Rotary(spec) => rotary(part, spec, attention.d_head),
        PositionSpec::Alibi(alibi) => {
            part.count("slopes", alibi.slopes.len(), attention.n_heads)?;
            part.numbers("slopes", &alibi.slopes, Number::Finite)
        }
        PositionSpec::RelativeBias(bias) => {
            part.size("n_buckets", bias.n_buckets)?;
            part.size("max_distance", bias.max_distance)?;
            let shape = [bias.n_buckets, attention.n_heads];
            part.source("relative_bias", &bias.table, &shape)
        }
    }
}

fn rotary(part: &Part<'_>, rotary: &RotarySpec, d_head: usize) -> Result<(), SpecError> {
    let dim = rotary.dim;
    let fits = (1..=d_head).contains(&dim) && dim.is_multiple_of(2);
    part.require(fits, "rotary dim", || {
        (format!("an even number up to d_head = {d_head}"), dim)
    })?;
    part.number("theta", rotary.theta, Number::AboveZero)?;
    let above_zero = |numbers: &[(&str, f64)]| {
        numbers
            .iter()
            .try_for_each(|(field, value)| part.number(field, *value, Number::AboveZero))
    };
    match &rotary.scaling {
        RotaryScaling::None => Ok(()),
        RotaryScaling::Linear { factor } => above_zero(&[("factor", *factor)]),
        RotaryScaling::Dynamic {
            factor,
            original_n_ctx,
        } => {
            part.size("original_n_ctx", *original_n_ctx)?;
            above_zero(&[("factor", *factor)])
        }
        RotaryScaling::Yarn {
            factor,
            original_n_ctx,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate: _,
        } => {
            part.size("original_n_ctx", *original_n_ctx)?;
            above_zero(&[
                ("factor", *factor),
                ("beta_fast", *beta_fast),
                ("beta_slow", *beta_slow),
                ("attention_factor", *attention_factor),
            ])
        }
        RotaryScaling::LongRope {
            short_factors,
            long_factors,
            original_n_ctx,
            attention_factor,
        } => {
            part.size("original_n_ctx", *original_n_ctx)?;
            for (field, factors) in [
                ("short_factors", short_factors),
                ("long_factors", long_factors),
            ] {
                part.count(field, factors.len(), dim / 2)?;
                part.numbers(field, factors, Number::AboveZero)?;
            }
            above_zero(&[("attention_factor", *attention_factor)])
        }
        RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_n_ctx,
        } => {
            part.size("original_n_ctx", *original_n_ctx)?;
            above_zero(&[
                ("factor", *factor),
                ("low_freq_factor", *low_freq_factor),
                ("high_freq_factor", *high_freq_factor),
            ])
        }
    }
}
