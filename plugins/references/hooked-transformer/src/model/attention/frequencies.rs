//! How fast each pair of channels turns, by HuggingFace's kinds of scaling.

use std::f64::consts::TAU;

use candle_core::DType;
use tlbench_sdk::spec::{RotaryScaling, RotarySpec};

/// Radians per position of each pair, for a sequence of `length`. An f32 run has the series that an f32 implementation has.
pub(super) fn frequencies(spec: &RotarySpec, length: usize, dtype: DType) -> Vec<f64> {
    let series = |theta: f64| -> Vec<f64> {
        let pairs = 0..spec.dim / 2;
        pairs
            .map(|pair| inverse_power(theta, 2 * pair, spec.dim, dtype))
            .collect()
    };
    let plain = series(spec.theta);
    match &spec.scaling {
        RotaryScaling::None => plain,
        RotaryScaling::Linear { factor } => plain.iter().map(|f| f / factor).collect(),
        RotaryScaling::Dynamic {
            factor,
            original_n_ctx,
        } => {
            let original = *original_n_ctx as f64;
            let stretch = factor * (length as f64).max(original) / original - (factor - 1.0);
            let dim = spec.dim as f64;
            series(spec.theta * stretch.powf(dim / (dim - 2.0)))
        }
        RotaryScaling::Yarn { factor, .. } => {
            let kept = kept_by_yarn(spec).into_iter();
            let pairs = plain.iter().zip(kept);
            pairs
                .map(|(f, kept)| f / factor * (1.0 - kept) + f * kept)
                .collect()
        }
        RotaryScaling::LongRope {
            short_factors,
            long_factors,
            original_n_ctx,
            ..
        } => {
            let is_long = length > *original_n_ctx;
            let factors = if is_long { long_factors } else { short_factors };
            plain.iter().zip(factors).map(|(f, by)| f / by).collect()
        }
        RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_n_ctx,
        } => {
            let interpolated = |&f: &f64| {
                let turns = *original_n_ctx as f64 * f / TAU;
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                if turns < *low_freq_factor {
                    f / factor
                } else if turns > *high_freq_factor {
                    f
                } else {
                    (1.0 - kept) * f / factor + kept * f
                }
            };
            plain.iter().map(interpolated).collect()
        }
    }
}

/// The factor on cosines and sines.
pub(super) fn attention_factor(scaling: &RotaryScaling) -> f64 {
    match scaling {
        RotaryScaling::Yarn {
            attention_factor, ..
        }
        | RotaryScaling::LongRope {
            attention_factor, ..
        } => *attention_factor,
        RotaryScaling::None
        | RotaryScaling::Linear { .. }
        | RotaryScaling::Dynamic { .. }
        | RotaryScaling::Llama3 { .. } => 1.0,
    }
}

/// `theta ^ (-channel / dim)`.
fn inverse_power(theta: f64, channel: usize, dim: usize, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => {
            let power = (theta as f32).powf(channel as f32 / dim as f32);
            f64::from(power.recip())
        }
        _ => theta.powf(channel as f64 / dim as f64).recip(),
    }
}

/// How much of each pair's own frequency stays: 1 where it turns often within the original context, 0 where seldom, and
/// a ramp between the two ([Peng et al. 2023](https://arxiv.org/abs/2309.00071), section 3.2).
fn kept_by_yarn(spec: &RotarySpec) -> Vec<f64> {
    let RotaryScaling::Yarn {
        original_n_ctx,
        beta_fast,
        beta_slow,
        truncate,
        ..
    } = spec.scaling
    else {
        return Vec::new();
    };
    let dim = spec.dim as f64;
    // The pair that turns so often within the original context.
    let pair =
        |turns: f64| dim * (original_n_ctx as f64 / (turns * TAU)).ln() / (2.0 * spec.theta.ln());
    let (mut low, mut high) = (pair(beta_fast), pair(beta_slow));
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dim - 1.0));
    if low == high {
        // As HuggingFace avoids a division by 0.
        high += 0.001;
    }
    let pairs = 0..spec.dim / 2;
    pairs
        .map(|pair| 1.0 - ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0))
        .collect()
}
