//! Rotary positions.

use tlbench_sdk::spec::{AttentionSpec, Pairing, PositionSpec, RotaryScaling, RotarySpec};

use tlbench_sdk::Symptom;

use super::said;
use super::variant::Variants;

const THETAS: [f64; 6] = [1e4, 1e6, 5e5, 1e5, 2e5, 2.5e4];
const FACTORS: [f64; 5] = [2.0, 4.0, 8.0, 16.0, 32.0];

fn rotary(position: &PositionSpec) -> Option<&RotarySpec> {
    match position {
        PositionSpec::Rotary(rotary) => Some(rotary),
        PositionSpec::None | PositionSpec::Alibi(_) | PositionSpec::RelativeBias(_) => None,
    }
}

pub(super) fn variants(
    variants: &mut Variants<'_, AttentionSpec>,
    others: &[AttentionSpec],
    symptom: &Symptom,
) {
    let d_model = symptom.spec.d_model;
    let attention = variants.part();
    let Some(found) = rotary(&attention.position) else {
        return;
    };
    let mut push = |fault, finding: String, edit: &dyn Fn(&mut RotarySpec)| {
        variants.push(fault, finding, |attention| {
            if let PositionSpec::Rotary(rotary) = &mut attention.position {
                edit(rotary);
            }
        });
    };
    for (place, said) in said::rotaries(&symptom.config, attention.d_head) {
        let (has, fits) = (text(found), text(&said));
        let finding = format!("{has} where {fits} fits, as config.json says in {place}");
        let fault = match (found.theta == said.theta, &found.scaling) {
            (true, RotaryScaling::Linear { .. }) => "rotary-scaling-linear",
            (true, _) => "rotary-scaling-ignored",
            (false, _) => "rotary-one-theta",
        };
        push(fault, finding, &|rotary| {
            rotary.theta = said.theta;
            rotary.scaling = said.scaling.clone();
        });
    }
    pairing(found, &mut push);
    let has_factors = matches!(found.scaling, RotaryScaling::LongRope { .. });
    if !has_factors {
        for dim in widths(attention.d_head) {
            let fault = if dim == attention.d_head {
                "rotary-half-head"
            } else {
                "rotary-whole-head"
            };
            let finding = format!(
                "{} channels of a head are rotated where {dim} fit",
                found.dim
            );
            push(fault, finding, &|rotary| rotary.dim = dim);
        }
    }
    let width = d_model as f64 / attention.n_heads as f64;
    let by_width = found.theta.powf(width / attention.d_head as f64);
    let finding = format!(
        "wavelengths are those of a head of {width} channels where those of {} fit",
        attention.d_head
    );
    push("rotary-head-width", finding, &|rotary| {
        rotary.theta = by_width.round()
    });
    for theta in THETAS {
        let finding = format!("theta = {} where {theta} fits", found.theta);
        push("rotary-theta", finding, &|rotary| rotary.theta = theta);
    }
    for other in others.iter().filter_map(|other| rotary(&other.position)) {
        let finding = format!(
            "{} where {} fits, as in other layers",
            text(found),
            text(other)
        );
        if other.dim == found.dim {
            push("rotary-one-theta", finding, &|rotary| {
                *rotary = other.clone()
            });
        }
    }
    for (fault, scaling) in scalings(&found.scaling) {
        let finding = format!(
            "{} where {} fits",
            scaling_text(&found.scaling),
            scaling_text(&scaling)
        );
        push(fault, finding, &|rotary| rotary.scaling = scaling.clone());
    }
    if found.scaling == RotaryScaling::None {
        for factor in FACTORS {
            let (found, theta) = (found.theta, found.theta * factor);
            let finding = format!(
                "theta = {found} without scaling where {theta} and positions divided by {factor} fit"
            );
            push("rotary-scaled-base", finding, &|rotary| {
                rotary.theta = theta;
                rotary.scaling = RotaryScaling::Linear { factor };
            });
        }
    }
}

fn pairing(
    found: &RotarySpec,
    push: &mut impl FnMut(&'static str, String, &dyn Fn(&mut RotarySpec)),
) {
    let (finding, fits) = match found.pairing {
        Pairing::Interleaved => (
            "pairs of neighbours are rotated where halves of a head fit",
            Pairing::Half,
        ),
        Pairing::Half => (
            "halves of a head are rotated where pairs of neighbours fit",
            Pairing::Interleaved,
        ),
    };
    push("rotary-pairing", finding.to_owned(), &|rotary| {
        rotary.pairing = fits
    });
}

/// All that can be rotated of a small head; of a large one what models have.
fn widths(d_head: usize) -> Vec<usize> {
    let step = if d_head <= 32 {
        2
    } else {
        d_head.div_ceil(16).next_multiple_of(2)
    };
    let mut widths: Vec<usize> = (1..=d_head / step).map(|n| n * step).collect();
    widths.reverse();
    widths
}

fn text(rotary: &RotarySpec) -> String {
    format!(
        "theta = {}, {}",
        rotary.theta,
        scaling_text(&rotary.scaling)
    )
}

fn scaling_text(scaling: &RotaryScaling) -> String {
    match scaling {
        RotaryScaling::None => "no scaling".to_owned(),
        RotaryScaling::Linear { factor } => format!("linear scaling by {factor}"),
        RotaryScaling::Dynamic {
            factor,
            original_n_ctx,
        } => format!("dynamic scaling by {factor} past {original_n_ctx} tokens"),
        RotaryScaling::Yarn {
            factor,
            original_n_ctx,
            attention_factor,
            ..
        } => format!(
            "YaRN by {factor} of {original_n_ctx} tokens, attention factor {attention_factor:.4}"
        ),
        RotaryScaling::LongRope {
            original_n_ctx,
            attention_factor,
            ..
        } => {
            format!("LongRoPE past {original_n_ctx} tokens, attention factor {attention_factor:.4}")
        }
        RotaryScaling::Llama3 {
            factor,
            original_n_ctx,
            ..
        } => format!("scaling of Llama 3 by {factor} of {original_n_ctx} tokens"),
    }
}

fn scalings(found: &RotaryScaling) -> Vec<(&'static str, RotaryScaling)> {
    let mut list = vec![("rotary-scaling-linear", RotaryScaling::None)];
    let factors = FACTORS.into_iter().chain(factor(found));
    for factor in factors {
        list.push(("rotary-scaling-ignored", RotaryScaling::Linear { factor }));
    }
    for by in [0.5, 2.0, 0.25, 4.0] {
        let mut scaling = found.clone();
        match &mut scaling {
            RotaryScaling::None | RotaryScaling::Linear { .. } => {}
            RotaryScaling::Dynamic { original_n_ctx, .. }
            | RotaryScaling::Yarn { original_n_ctx, .. }
            | RotaryScaling::LongRope { original_n_ctx, .. }
            | RotaryScaling::Llama3 { original_n_ctx, .. } => {
                *original_n_ctx = (*original_n_ctx as f64 * by) as usize;
            }
        }
        list.push(("rotary-original-context", scaling));
    }
    if let RotaryScaling::Yarn { factor, .. } = found {
        let usual = 0.1 * factor.ln() + 1.0;
        for value in [usual, 1.0] {
            let mut scaling = found.clone();
            if let RotaryScaling::Yarn {
                attention_factor, ..
            } = &mut scaling
            {
                *attention_factor = value;
            }
            list.push(("rotary-attention-factor", scaling));
        }
    }
    list
}

fn factor(scaling: &RotaryScaling) -> Option<f64> {
    match *scaling {
        RotaryScaling::None | RotaryScaling::LongRope { .. } => None,
        RotaryScaling::Linear { factor }
        | RotaryScaling::Dynamic { factor, .. }
        | RotaryScaling::Yarn { factor, .. }
        | RotaryScaling::Llama3 { factor, .. } => Some(factor),
    }
}
