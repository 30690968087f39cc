//! Random numbers that every implementation draws alike.

/// `count` numbers, uniform between `-sqrt(3)` and `sqrt(3)`: mean 0, variance 1.
///
/// Number `i` is a function of `seed` and `i` alone: the top 53 bits of output `i` of
/// [SplitMix64](https://doi.org/10.1145/2660193.2660195) started at `seed`.
pub fn noise(seed: u64, count: usize) -> Vec<f64> {
    (0..count).map(|index| noise_at(seed, index)).collect()
}

/// Number `index` of [`noise`].
pub fn noise_at(seed: u64, index: usize) -> f64 {
    (2.0 * uniform(seed, index) - 1.0) * 3.0_f64.sqrt()
}

/// Number `index` of the same stream, uniform from 0 up to and without 1.
pub fn uniform(seed: u64, index: usize) -> f64 {
    unit(seed.wrapping_add(GAMMA.wrapping_mul((index as u64).wrapping_add(1))))
}

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn unit(state: u64) -> f64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let bits = (mixed ^ (mixed >> 31)) >> 11;
    // 2^-53 of the 53 bits is a number from 0 to 1.
    bits as f64 * f64::EPSILON / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator's published first outputs for the seed 1234567.
    #[test]
    fn it_is_split_mix_64() {
        let published = [
            6_457_827_717_110_365_317_u64,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        for (index, number) in noise(1_234_567, 3).into_iter().enumerate() {
            let unit = (published[index] >> 11) as f64 / 2.0_f64.powi(53);
            assert_eq!(uniform(1_234_567, index), unit);
            assert_eq!(number, (2.0 * unit - 1.0) * 3.0_f64.sqrt());
        }
    }

    #[test]
    fn mean_and_variance() {
        let drawn = noise(7, 10_000);
        let mean = drawn.iter().sum::<f64>() / 1e4;
        let square = drawn.iter().map(|value| value * value).sum::<f64>() / 1e4;
        assert!(
            mean.abs() < 0.05 && (square - 1.0).abs() < 0.05,
            "{mean} {square}"
        );
    }
}
