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

#[cfg(test)]
mod tests {
    use tlbench_sdk::spec::Pairing;

    use super::*;

    fn yarn(truncate: bool) -> RotaryScaling {
        RotaryScaling::Yarn {
            factor: 3.0,
            original_n_ctx: 16,
            beta_fast: 2.0,
            beta_slow: 0.2,
            attention_factor: 1.1,
            truncate,
        }
    }

    fn dynamic() -> RotaryScaling {
        RotaryScaling::Dynamic {
            factor: 3.0,
            original_n_ctx: 48,
        }
    }

    fn longrope() -> RotaryScaling {
        RotaryScaling::LongRope {
            short_factors: vec![1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
            long_factors: vec![2.0, 2.5, 3.0, 3.5, 4.0, 4.5],
            original_n_ctx: 16,
            attention_factor: 1.2,
        }
    }

    /// `ROPE_INIT_FUNCTIONS[kind](LlamaConfig(head_dim=12, max_position_embeddings=48, rope_parameters=..), "cpu", seq_len)`
    /// of transformers 5, with `rope_theta` 5000; it computes in f32.
    #[test]
    fn the_formulas_are_those_of_transformers() {
        let linear = RotaryScaling::Linear { factor: 3.0 };
        let llama3 = RotaryScaling::Llama3 {
            factor: 3.0,
            low_freq_factor: 0.5,
            high_freq_factor: 4.0,
            original_n_ctx: 48,
        };
        let table = [
            (
                RotaryScaling::None,
                1,
                [
                    1.0,
                    0.241_827_1,
                    0.058_480_352,
                    0.014_142_136,
                    0.003_419_951_3,
                    0.000_827_037_26,
                ],
            ),
            (
                linear,
                1,
                [
                    0.333_333_34,
                    0.080_609_031,
                    0.019_493_451,
                    0.004_714_045_2,
                    0.001_139_983_8,
                    0.000_275_679_08,
                ],
            ),
            (
                dynamic(),
                48,
                [
                    1.0,
                    0.241_827_1,
                    0.058_480_352,
                    0.014_142_136,
                    0.003_419_951_3,
                    0.000_827_037_26,
                ],
            ),
            (
                dynamic(),
                70,
                [
                    1.0,
                    0.203_409_985,
                    0.041_375_622,
                    0.008_416_215,
                    0.001_711_941_9,
                    0.000_348_226_23,
                ],
            ),
            (
                yarn(true),
                1,
                [
                    1.0,
                    0.161_218_06,
                    0.019_493_451,
                    0.004_714_045_2,
                    0.001_139_983_8,
                    0.000_275_679_08,
                ],
            ),
            (
                yarn(false),
                1,
                [
                    1.0,
                    0.159_350_37,
                    0.019_493_451,
                    0.004_714_045_2,
                    0.001_139_983_8,
                    0.000_275_679_08,
                ],
            ),
            (
                longrope(),
                16,
                [
                    1.0,
                    0.219_842_81,
                    0.048_733_626,
                    0.010_878_566,
                    0.002_442_822_3,
                    0.000_551_358_16,
                ],
            ),
            (
                longrope(),
                17,
                [
                    0.5,
                    0.096_730_843,
                    0.019_493_451,
                    0.004_040_610_5,
                    0.000_854_987_83,
                    0.000_183_786_05,
                ],
            ),
            (
                llama3,
                1,
                [
                    1.0,
                    0.142_674_45,
                    0.019_493_451,
                    0.004_714_045_2,
                    0.001_139_983_8,
                    0.000_275_679_08,
                ],
            ),
        ];
        for (scaling, length, expected) in table {
            let spec = RotarySpec {
                dim: 12,
                pairing: Pairing::Half,
                theta: 5000.0,
                scaling,
            };
            let found = rates(&spec, length);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                let error = (found / expected - 1.0).abs();
                assert!(error < 3e-7, "{:?}: {found} for {expected}", spec.scaling);
            }
        }
    }
}
