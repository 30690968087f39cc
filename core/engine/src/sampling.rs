//! The choice of the next token.

use tlbench_sdk::{Sampling, uniform};

use crate::error::EngineError;

/// Whether `sampling` can choose.
pub(crate) fn check(sampling: &Sampling) -> Result<(), EngineError> {
    match *sampling {
        Sampling::Temperature { temperature, .. }
            if !(temperature.is_finite() && temperature > 0.0) =>
        {
            Err(EngineError::request(
                "temperature",
                "a finite number above 0",
                temperature.to_string(),
            ))
        }
        Sampling::Greedy | Sampling::Temperature { .. } => Ok(()),
    }
}

/// The token that follows in one row. Random number `step` of the seed's stream decides, in whichever row: what is
/// drawn does not depend on the rest of the batch.
pub(crate) fn next_token(
    logits: &[f64],
    sampling: &Sampling,
    step: usize,
) -> Result<usize, EngineError> {
    let (best, max) = largest(logits)?;
    Ok(match *sampling {
        Sampling::Greedy => best,
        Sampling::Temperature { temperature, seed } => {
            let weight = |&logit: &f64| ((logit - max) / temperature).exp();
            let total: f64 = logits.iter().map(weight).sum();
            let drawn = uniform(seed, step) * total;
            let mut sum = 0.0;
            let reached = logits.iter().position(|logit| {
                sum += weight(logit);
                sum > drawn
            });
            reached.unwrap_or(best)
        }
    })
}

/// The first of the largest logits, and its value.
fn largest(logits: &[f64]) -> Result<(usize, f64), EngineError> {
    let nothing = (0, f64::NEG_INFINITY);
    let largest = logits
        .iter()
        .enumerate()
        .fold(nothing, |best, (at, &logit)| {
            // NaN stays: nothing is larger.
            if logit > best.1 || logit.is_nan() {
                (at, logit)
            } else {
                best
            }
        });
    if largest.1.is_finite() {
        return Ok(largest);
    }
    Err(EngineError::request(
        "logits",
        "a largest one that is finite",
        largest.1.to_string(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(logits: &[f64], temperature: f64, steps: usize) -> Vec<usize> {
        let sampling = Sampling::Temperature {
            temperature,
            seed: 3,
        };
        (0..steps)
            .map(|step| next_token(logits, &sampling, step).unwrap())
            .collect()
    }

    #[test]
    fn greedy_takes_the_first_of_equal_logits() {
        let next = |logits: &[f64]| next_token(logits, &Sampling::Greedy, 0).unwrap();
        assert_eq!(next(&[0.0, 2.0, 2.0, 1.0]), 1);
        assert_eq!(next(&[f64::NEG_INFINITY, -5.0]), 1);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_the_softmax_says() {
        let logits = [0.5, -1.0, f64::NEG_INFINITY, 2.0, 0.0];
        let draws = 20_000;
        for temperature in [0.5, 1.0, 3.0] {
            let weights = logits.map(|logit| (logit / temperature).exp());
            let total: f64 = weights.iter().sum();
            let tokens = drawn(&logits, temperature, draws);
            let square = |(token, weight): (usize, &f64)| {
                let expected = weight / total * draws as f64;
                let found = tokens.iter().filter(|&&drawn| drawn == token).count() as f64;
                if expected == 0.0 {
                    assert_eq!(found, 0.0, "token {token} is impossible");
                    return 0.0;
                }
                (found - expected).powi(2) / expected
            };
            let chi_square: f64 = weights.iter().enumerate().map(square).sum();
            // The 99.9th percentile of chi-square with three degrees of freedom.
            assert!(chi_square < 16.27, "{chi_square} at {temperature}");
        }
    }

    #[test]
    fn a_low_temperature_is_greedy_and_a_shift_of_all_logits_is_nothing() {
        let logits = [0.25, 1.0, 0.75];
        assert_eq!(drawn(&logits, 1e-300, 50), [1; 50]);
        let shifted = logits.map(|logit| logit - 1024.0);
        assert_eq!(drawn(&logits, 1.0, 50), drawn(&shifted, 1.0, 50));
    }

    #[test]
    fn nothing_is_chosen_from_what_is_not_finite() {
        for logits in [[0.0, f64::NAN, 1.0], [f64::INFINITY, 0.0, 1.0]] {
            assert!(next_token(&logits, &Sampling::Greedy, 0).is_err());
        }
        let nothing = [f64::NEG_INFINITY; 2];
        let error = next_token(&nothing, &Sampling::Greedy, 0).unwrap_err();
        insta::assert_snapshot!(error, @"logits: expected a largest one that is finite, found -inf");
    }
}
