//! The angle per position of each pair, by the formulas of `ROPE_INIT_FUNCTIONS` in HF's `modeling_rope_utils.py`.
//!
//! They are written here once more, in f64: the tables of those who are judged are held to them.

use std::f64::consts::TAU;

use tlbench_sdk::spec::{RotaryScaling, RotarySpec};

/// The rates for an input whose positions end before `length`.
pub(super) fn rates(spec: &RotarySpec, length: i64) -> Vec<f64> {
    let length = length as f64;
    let exponents = (0..spec.dim / 2).map(|pair| 2.0 * pair as f64 / spec.dim as f64);
    let plain = |exponent: f64| spec.theta.powf(-exponent);
    match &spec.scaling {
        RotaryScaling::None => exponents.map(plain).collect(),
        RotaryScaling::Linear { factor } => exponents.map(|e| plain(e) / factor).collect(),
        RotaryScaling::Dynamic {
            factor,
            original_n_ctx,
        } => {
            let grown = length.max(*original_n_ctx as f64) / *original_n_ctx as f64;
            let dim = spec.dim as f64;
            let growth = (factor * grown - (factor - 1.0)).powf(dim / (dim - 2.0));
            exponents.map(|e| (spec.theta * growth).powf(-e)).collect()
        }
        RotaryScaling::Yarn { factor, .. } => {
            let kept = (0..).map(|pair| share_kept(spec, pair));
            let mixed = |(e, kept): (f64, f64)| plain(e) * (kept + (1.0 - kept) / factor);
            exponents.zip(kept).map(mixed).collect()
        }
        RotaryScaling::LongRope {
            short_factors,
            long_factors,
            original_n_ctx,
            ..
        } => {
            let is_long = length > *original_n_ctx as f64;
            let factors = if is_long { long_factors } else { short_factors };
            exponents
                .zip(factors)
                .map(|(e, factor)| plain(e) / factor)
                .collect()
        }
        RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_n_ctx,
        } => {
            let by_wavelength = |rate: f64| {
                let wavelength = TAU / rate;
                let original = *original_n_ctx as f64;
                if wavelength < original / high_freq_factor {
                    rate
                } else if wavelength > original / low_freq_factor {
                    rate / factor
                } else {
                    let width = high_freq_factor - low_freq_factor;
                    let smooth = (original / wavelength - low_freq_factor) / width;
                    (1.0 - smooth) * rate / factor + smooth * rate
                }
            };
            exponents.map(plain).map(by_wavelength).collect()
        }
    }
}

/// The factor on cos and sin.
pub(super) const fn length_factor(spec: &RotarySpec) -> f64 {
    match spec.scaling {
        RotaryScaling::Yarn {
            attention_factor, ..
        }
        | RotaryScaling::LongRope {
            attention_factor, ..
        } => attention_factor,
        _ => 1.0,
    }
}

/// How much of a pair's own rate YaRN keeps: all of the fast ones, nothing of the slow ones.
fn share_kept(spec: &RotarySpec, pair: usize) -> f64 {
    let RotaryScaling::Yarn {
        original_n_ctx,
        beta_fast,
        beta_slow,
        truncate,
        ..
    } = spec.scaling
    else {
        return 1.0;
    };
    let dim = spec.dim as f64;
    // The pair that turns so often over the original context.
    let pair_of =
        |turns: f64| dim * (original_n_ctx as f64 / (turns * TAU)).ln() / (2.0 * spec.theta.ln());
    let (mut first, mut last) = (pair_of(beta_fast), pair_of(beta_slow));
    if truncate {
        (first, last) = (first.floor(), last.ceil());
    }
    (first, last) = (first.max(0.0), last.min(dim - 1.0));
    if first == last {
        last += 0.001;
    }
    1.0 - ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0)
}
