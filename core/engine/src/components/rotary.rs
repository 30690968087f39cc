//! The angles of rotary positions, as HF's `modeling_rope_utils.py` defines them.

use std::f64::consts::TAU;

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::{RotaryScaling, RotarySpec};

use crate::error::EngineError;
use crate::inputs::Inputs;
use crate::ops::Rotation;
use crate::precision::Precision;

/// How far each pair is turned at each position of `inputs`. The angles are exact; cos and sin are rounded once.
///
/// `lengths` are those of all calls so far, this one the last: they set the frequencies of some kinds of scaling.
pub(super) fn rotation(
    spec: &RotarySpec,
    lengths: &[i64],
    inputs: &Inputs,
    precision: Precision,
) -> Result<Rotation, EngineError> {
    let frequencies = frequencies(spec, lengths);
    let factor = attention_factor(&spec.scaling);
    let shape = (inputs.batch, inputs.pos, frequencies.len());
    let table = |of: fn(f64) -> f64| {
        let positions = inputs.position_ids.iter();
        let values = positions.flat_map(|&position| {
            let angles = frequencies.iter().map(move |f| position as f64 * f);
            angles.map(|angle| factor * of(angle))
        });
        let exact = Tensor::from_vec(values.collect::<Vec<f64>>(), shape, &Device::Cpu)?;
        precision.rounded(&exact)
    };
    Ok(Rotation {
        cos: table(f64::cos)?,
        sin: table(f64::sin)?,
        pairing: spec.pairing,
    })
}

/// The factor on cos and sin.
fn attention_factor(scaling: &RotaryScaling) -> f64 {
    match *scaling {
        RotaryScaling::Yarn {
            attention_factor, ..
        }
        | RotaryScaling::LongRope {
            attention_factor, ..
        } => attention_factor,
        RotaryScaling::None
        | RotaryScaling::Linear { .. }
        | RotaryScaling::Dynamic { .. }
        | RotaryScaling::Llama3 { .. } => 1.0,
    }
}

/// The angle per position of each pair, HF's `inv_freq`.
fn frequencies(spec: &RotarySpec, lengths: &[i64]) -> Vec<f64> {
    let plain = series(spec.theta, spec.dim);
    match &spec.scaling {
        RotaryScaling::None => plain,
        RotaryScaling::Linear { factor } => plain.iter().map(|f| f / factor).collect(),
        &RotaryScaling::Dynamic {
            factor,
            original_n_ctx,
        } => {
            let original = original_n_ctx as f64;
            let stretch = factor * grown(original, lengths) / original - (factor - 1.0);
            let dim = spec.dim as f64;
            series(spec.theta * stretch.powf(dim / (dim - 2.0)), spec.dim)
        }
        &RotaryScaling::Yarn {
            factor,
            original_n_ctx,
            beta_fast,
            beta_slow,
            truncate,
            ..
        } => {
            let bounds = [beta_fast, beta_slow].map(|turns| turning(spec, original_n_ctx, turns));
            let ramp = Ramp::new(bounds, spec.dim, truncate);
            let blended = |(pair, f): (usize, &f64)| {
                let stretched = ramp.at(pair);
                f / factor * stretched + f * (1.0 - stretched)
            };
            plain.iter().enumerate().map(blended).collect()
        }
        RotaryScaling::LongRope {
            short_factors,
            long_factors,
            original_n_ctx,
            ..
        } => {
            let length = lengths.last().copied().unwrap_or(0);
            let factors = match length > *original_n_ctx as i64 {
                true => long_factors,
                false => short_factors,
            };
            plain
                .iter()
                .zip(factors)
                .map(|(f, factor)| f / factor)
                .collect()
        }
        &RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_n_ctx,
        } => {
            let stretched = |f: &f64| {
                let turns = original_n_ctx as f64 * f / TAU;
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = match turns {
                    _ if turns < low_freq_factor => 0.0,
                    _ if turns > high_freq_factor => 1.0,
                    _ => kept,
                };
                (1.0 - kept) * f / factor + kept * f
            };
            plain.iter().map(stretched).collect()
        }
    }
}

/// `theta ^ (-2 i / dim)`.
fn series(theta: f64, dim: usize) -> Vec<f64> {
    let pairs = 0..dim / 2;
    pairs
        .map(|pair| theta.powf(2.0 * pair as f64 / dim as f64).recip())
        .collect()
}

/// The length that NTK scaling goes by: the longest call's, until one is short again.
///
/// HF keeps the frequencies of a long call for shorter ones, but for those that are below the original context.
fn grown(original: f64, lengths: &[i64]) -> f64 {
    lengths.iter().fold(original, |longest, &length| {
        let length = length as f64;
        match longest {
            _ if length > longest => length,
            _ if length < original => original,
            _ => longest,
        }
    })
}

/// The index, in pairs, at which a frequency turns `turns` times over the original context.
fn turning(spec: &RotarySpec, original_n_ctx: usize, turns: f64) -> f64 {
    let wavelength = original_n_ctx as f64 / (turns * TAU);
    spec.dim as f64 * wavelength.ln() / (2.0 * spec.theta.ln())
}

/// From pairs that are kept, 0, to pairs that are stretched in full, 1.
struct Ramp {
    low: f64,
    high: f64,
}

impl Ramp {
    fn new([low, high]: [f64; 2], dim: usize, truncate: bool) -> Self {
        let (low, high) = match truncate {
            true => (low.floor(), high.ceil()),
            false => (low, high),
        };
        let (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
        // HF's way around a division by 0.
        let high = if low == high { high + 0.001 } else { high };
        Self { low, high }
    }

    fn at(&self, pair: usize) -> f64 {
        ((pair as f64 - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use tlbench_sdk::spec::Pairing;

    use super::*;

    const N_CTX: usize = 64;

    fn spec(scaling: RotaryScaling) -> RotarySpec {
        RotarySpec {
            dim: 8,
            pairing: Pairing::Half,
            theta: 10_000.0,
            scaling,
        }
    }

    fn yarn(beta_fast: f64, beta_slow: f64, truncate: bool) -> RotaryScaling {
        RotaryScaling::Yarn {
            factor: 4.0,
            original_n_ctx: N_CTX,
            beta_fast,
            beta_slow,
            attention_factor: 1.138_629_436_111_989,
            truncate,
        }
    }

    fn llama3(low_freq_factor: f64) -> RotaryScaling {
        RotaryScaling::Llama3 {
            factor: 8.0,
            low_freq_factor,
            high_freq_factor: 4.0,
            original_n_ctx: N_CTX,
        }
    }

    fn dynamic() -> RotaryScaling {
        RotaryScaling::Dynamic {
            factor: 4.0,
            original_n_ctx: N_CTX,
        }
    }

    fn longrope() -> RotaryScaling {
        RotaryScaling::LongRope {
            short_factors: vec![1.0, 1.1, 1.2, 1.3],
            long_factors: vec![1.5, 2.0, 3.0, 4.0],
            original_n_ctx: N_CTX,
            attention_factor: 1.154_700_538_379_251_7,
        }
    }

    /// `ROPE_INIT_FUNCTIONS[kind](LlamaConfig(head_dim=8, max_position_embeddings=64, rope_parameters=..), "cpu",
    /// seq_len)` of transformers 5, which computes in f32.
    #[test]
    fn frequencies_are_those_of_transformers() {
        let linear = RotaryScaling::Linear { factor: 4.0 };
        let table: [(RotaryScaling, i64, [f64; 4]); 11] = [
            (RotaryScaling::None, 1, [1.0, 0.1, 0.01, 0.001]),
            (linear, 1, [0.25, 0.025, 0.0025, 0.000_25]),
            (dynamic(), 64, [1.0, 0.1, 0.01, 0.001]),
            (
                dynamic(),
                100,
                [1.0, 0.067_510_642_1, 0.004_557_686_39, 0.000_307_692_302],
            ),
            (yarn(32.0, 1.0, true), 1, [1.0, 0.0625, 0.0025, 0.000_25]),
            (
                yarn(2.0, 0.25, false),
                1,
                [1.0, 0.075_664_401_1, 0.0025, 0.000_25],
            ),
            (yarn(8.0, 0.05, true), 1, [1.0, 0.075, 0.005, 0.000_25]),
            (
                longrope(),
                64,
                [1.0, 0.090_909_093_6, 0.008_333_332_84, 0.000_769_230_77],
            ),
            (
                longrope(),
                65,
                [0.666_666_687, 0.05, 0.003_333_333_41, 0.000_25],
            ),
            (llama3(1.0), 1, [1.0, 0.013_042_256_2, 0.001_25, 0.000_125]),
            (
                llama3(0.05),
                1,
                [1.0, 0.033_956_144, 0.001_364_877_91, 0.000_125],
            ),
        ];
        for (scaling, length, expected) in table {
            let found = frequencies(&spec(scaling.clone()), &[length]);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                let error = (found / expected - 1.0).abs();
                assert!(error < 2e-7, "{scaling:?}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn long_calls_stretch_the_shorter_ones_that_follow_until_one_is_in_the_original_context() {
        for (lengths, expected) in [
            (&[][..], 64.0),
            (&[10], 64.0),
            (&[100], 100.0),
            (&[100, 80], 100.0),
            (&[100, 64], 100.0),
            (&[100, 120, 110], 120.0),
            (&[100, 63], 64.0),
            (&[100, 63, 70], 70.0),
        ] {
            assert_eq!(grown(64.0, lengths), expected, "{lengths:?}");
        }
    }

    #[test]
    fn the_last_call_alone_says_which_factors_are_used() {
        let long = frequencies(&spec(longrope()), &[65]);
        let short = frequencies(&spec(longrope()), &[3]);
        assert_eq!(frequencies(&spec(longrope()), &[3, 65]), long);
        assert_eq!(frequencies(&spec(longrope()), &[65, 3]), short);
    }

    #[test]
    fn both_cos_and_sin_have_the_factor_and_are_rounded_as_the_run_rounds() {
        let ids = tlbench_sdk::Tensor::from_vec(vec![0_i64, 0], &[1, 2]).unwrap();
        let inputs = [("input_ids".to_owned(), ids)].into();
        let inputs = Inputs::new(&inputs).unwrap();
        let spec = spec(longrope());
        let factor = attention_factor(&spec.scaling);
        let values = |tensor: &Tensor| {
            let exact = tensor.to_dtype(candle_core::DType::F64).unwrap();
            exact.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let exact = rotation(&spec, &[2], &inputs, Precision::Double).unwrap();
        assert_eq!(values(&exact.cos)[..4], [factor; 4]);
        assert_eq!(values(&exact.cos)[4], factor * 1.0_f64.cos());
        assert_eq!(values(&exact.sin)[4], factor * 1.0_f64.sin());
        let narrow = rotation(&spec, &[2], &inputs, Precision::Bf16).unwrap();
        let expected = half::bf16::from_f64(factor * 1.0_f64.cos()).to_f64();
        assert_eq!(values(&narrow.cos)[4], expected);
    }
}
