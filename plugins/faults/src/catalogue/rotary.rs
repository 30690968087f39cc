//! Rotary positions.

use tlbench_sdk::spec::{Pairing, RotaryScaling};
use tlbench_sdk::{Deviation, FaultEdit, Feature, ModelSpec, QuestionEdit, Runs};

use crate::parts::{attentions, rotaries};
use crate::zoo::{Entry, Make};

const fn fault(id: &'static str, description: &'static str, edit: fn(&mut ModelSpec)) -> Entry {
    Entry::new(
        Feature::Rotary,
        id,
        description,
        Make::Spec(Runs::All, edit),
    )
}

const FAR: &str = "positions far from the first one";
const PAST_ORIGINAL: &str = "more tokens than the context that the model was trained on";

pub(crate) const FAULTS: &[Entry] = &[
    fault(
        "rotary-pairing",
        "rotated pairs of neighbours where halves of a head are meant, or the reverse",
        pairing,
    )
    .made_in(&[
        "https://github.com/huggingface/candle/pull/3411",
        "https://github.com/huggingface/candle/issues/3948",
        "https://github.com/ggml-org/llama.cpp/pull/5691",
    ]),
    fault(
        "rotary-whole-head",
        "all channels of a head rotated where a part is meant",
        whole_head,
    )
    .made_in(&[
        "https://github.com/ml-explore/mlx-lm/pull/105",
        "https://github.com/ggml-org/llama.cpp/pull/4490",
    ]),
    fault(
        "rotary-half-head",
        "half of the rotated channels left as they are",
        half_head,
    ),
    fault(
        "rotary-theta",
        "the base of the wavelengths that other models have, 10,000 or 500,000",
        theta,
    )
    .made_in(&[
        "https://github.com/ggml-org/llama.cpp/pull/2769",
        "https://github.com/huggingface/candle/pull/2723",
    ]),
    fault(
        "rotary-head-width",
        "wavelengths of a head that is d_model / n_heads wide, where it is not",
        head_width,
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/9141"]),
    fault(
        "rotary-one-theta",
        "one set of wavelengths for all layers, where local and global ones differ",
        one_for_all,
    )
    .made_in(&["https://github.com/huggingface/candle/pull/2917"]),
    fault(
        "rotary-scaling-ignored",
        "wavelengths that are not scaled",
        unscaled,
    )
    .shown_by(PAST_ORIGINAL)
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/8676"]),
    fault(
        "rotary-scaling-linear",
        "every wavelength stretched alike, where the kind of scaling is another one",
        linear,
    )
    .made_in(&["https://github.com/lablup/mlxcel/issues/1688"]),
    fault(
        "rotary-scaled-base",
        "the base of the wavelengths divided by the factor that is meant for positions",
        scaled_base,
    )
    .made_in(&["https://github.com/huggingface/candle/pull/2914"]),
    fault(
        "rotary-original-context",
        "scaling by a context of twice the length that the model was trained on",
        other_context,
    )
    .made_in(&["https://github.com/TransformerLensOrg/TransformerLens/pull/910"]),
    fault(
        "rotary-attention-factor",
        "sines and cosines without the factor that the kind of scaling gives them",
        no_attention_factor,
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/8262"]),
    fault(
        "rotary-always-long",
        "the factors for long sequences on short ones as well",
        always_long,
    )
    .shown_by("no more tokens than the context that the model was trained on")
    .made_in(&["https://github.com/ml-explore/mlx-lm/pull/660"]),
    Entry::new(
        Feature::Rotary,
        "rotary-table-bf16",
        "sines and cosines stored in bf16",
        Make::Edits(|spec| rotated(spec, FaultEdit::Engine(Deviation::RotaryTableInBf16))),
    )
    .shown_by(FAR)
    .made_in(&[
        "https://github.com/huggingface/candle/pull/3005",
        "https://github.com/huggingface/candle/issues/3698",
    ]),
    Entry::new(
        Feature::Rotary,
        "rotary-offset",
        "positions that count from 1",
        Make::Edits(|spec| rotated(spec, FaultEdit::Question(QuestionEdit::PositionsFromOne))),
    )
    .shown_by("a kind of scaling that depends on the length; without one it is a symmetry"),
];

/// An edit, if the model is one with rotary positions.
pub(crate) fn rotated(spec: &ModelSpec, edit: FaultEdit) -> Vec<FaultEdit> {
    match rotaries(&mut spec.clone()).next() {
        Some(_) => vec![edit],
        None => Vec::new(),
    }
}

fn pairing(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        rotary.pairing = match rotary.pairing {
            Pairing::Half => Pairing::Interleaved,
            Pairing::Interleaved => Pairing::Half,
        };
    }
}

fn whole_head(spec: &mut ModelSpec) {
    let widths: Vec<usize> = attentions(spec).map(|attention| attention.d_head).collect();
    // Factors per pair fit the channels that are rotated, and no others.
    for (rotary, width) in rotaries(spec).zip(widths) {
        if !matches!(rotary.scaling, RotaryScaling::LongRope { .. }) {
            rotary.dim = width;
        }
    }
}

fn half_head(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        let has_factors = matches!(rotary.scaling, RotaryScaling::LongRope { .. });
        if rotary.dim.is_multiple_of(4) && !has_factors {
            rotary.dim /= 2;
        }
    }
}

fn theta(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        rotary.theta = if rotary.theta == 10_000.0 {
            500_000.0
        } else {
            10_000.0
        };
    }
}

/// `theta ^ (-2 i / width)` is the series of another base over `dim` channels.
fn head_width(spec: &mut ModelSpec) {
    let d_model = spec.d_model;
    for attention in attentions(spec) {
        let width = d_model / attention.n_heads;
        let whole = attention.d_head;
        if let tlbench_sdk::spec::PositionSpec::Rotary(rotary) = &mut attention.position
            && width != whole
            && rotary.dim == whole
            && width > 0
        {
            rotary.theta = rotary.theta.powf(rotary.dim as f64 / width as f64);
        }
    }
}

fn one_for_all(spec: &mut ModelSpec) {
    let Some(last) = rotaries(spec).last().cloned() else {
        return;
    };
    for rotary in rotaries(spec) {
        if rotary.dim == last.dim {
            *rotary = last.clone();
        }
    }
}

fn unscaled(spec: &mut ModelSpec) {
    rotaries(spec).for_each(|rotary| rotary.scaling = RotaryScaling::None);
}

/// How much longer a kind of scaling makes the context.
fn factor(scaling: &RotaryScaling) -> Option<f64> {
    match *scaling {
        RotaryScaling::None => None,
        RotaryScaling::LongRope { .. } => Some(4.0),
        RotaryScaling::Linear { factor }
        | RotaryScaling::Dynamic { factor, .. }
        | RotaryScaling::Yarn { factor, .. }
        | RotaryScaling::Llama3 { factor, .. } => Some(factor),
    }
}

fn linear(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        if let Some(factor) = factor(&rotary.scaling) {
            rotary.scaling = RotaryScaling::Linear { factor };
        }
    }
}

fn scaled_base(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        if let RotaryScaling::Linear { factor } = rotary.scaling {
            rotary.scaling = RotaryScaling::None;
            rotary.theta /= factor;
        }
    }
}

fn other_context(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        match &mut rotary.scaling {
            RotaryScaling::None | RotaryScaling::Linear { .. } => {}
            RotaryScaling::Dynamic { original_n_ctx, .. }
            | RotaryScaling::Yarn { original_n_ctx, .. }
            | RotaryScaling::LongRope { original_n_ctx, .. }
            | RotaryScaling::Llama3 { original_n_ctx, .. } => *original_n_ctx *= 2,
        }
    }
}

fn no_attention_factor(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        if let RotaryScaling::Yarn {
            attention_factor, ..
        }
        | RotaryScaling::LongRope {
            attention_factor, ..
        } = &mut rotary.scaling
        {
            *attention_factor = 1.0;
        }
    }
}

fn always_long(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        if let RotaryScaling::LongRope {
            short_factors,
            long_factors,
            ..
        } = &mut rotary.scaling
        {
            short_factors.clone_from(long_factors);
        }
    }
}
