//! What only logits have: probabilities, and a favourite.

use serde::{Deserialize, Serialize};

use super::difference::CompareError;
use super::region::{Axes, Region};
use crate::float;
use crate::tensor::Tensor;

/// How far two sets of logits agree on the next token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogitAgreement {
    /// The mean over positions of `KL(truth || value)`, in nats.
    #[serde(with = "float")]
    pub mean_kl: f64,
    /// The largest of them.
    #[serde(with = "float")]
    pub max_kl: f64,
    /// The share of positions whose largest logit is at the same token.
    #[serde(with = "float")]
    pub top1: f64,
    /// Among positions that disagree, the largest distance of the truth's two best logits: how clear the truth was.
    #[serde(with = "float")]
    pub worst_margin: f64,
    /// Positions compared.
    pub rows: usize,
}

/// Compares logits `[batch, pos, d_vocab_out]` as distributions, where there are tokens.
///
/// # Errors
/// If the shapes differ, or there is nothing to compare.
pub fn agreement(
    value: &Tensor,
    truth: &Tensor,
    region: &Region,
) -> Result<LogitAgreement, CompareError> {
    if value.shape() != truth.shape() {
        return Err(CompareError::Shape {
            expected: truth.shape().to_vec(),
            found: value.shape().to_vec(),
        });
    }
    let (values, truths) = (value.to_f64_vec(), truth.to_f64_vec());
    let runs = region.runs(truth.shape(), Axes::Positions { pos: 1 });
    if runs.iter().all(|run| run.start == run.end) {
        return Err(CompareError::Empty);
    }
    let (mut sum, mut max_kl, mut same, mut worst_margin) = (0.0, 0.0_f64, 0_usize, 0.0_f64);
    for run in &runs {
        let (value, truth) = (&values[run.start..run.end], &truths[run.start..run.end]);
        let kl = divergence(truth, value);
        sum += kl;
        // `max` would drop a NaN.
        max_kl = if kl.is_nan() { kl } else { max_kl.max(kl) };
        if argmax(value) == argmax(truth) {
            same += 1;
        } else {
            worst_margin = worst_margin.max(margin(truth));
        }
    }
    let rows = runs.len();
    Ok(LogitAgreement {
        mean_kl: sum / rows as f64,
        max_kl,
        top1: same as f64 / rows as f64,
        worst_margin,
        rows,
    })
}

/// The log-softmax over the last dimension, in f64.
pub fn log_softmax(logits: &Tensor) -> Tensor {
    let width = logits.shape().last().copied().unwrap_or(1).max(1);
    let values: Vec<f64> = logits
        .to_f64_vec()
        .chunks(width)
        .flat_map(log_softmax_row)
        .collect();
    // The shape is the one it came with.
    Tensor::from_vec(values, logits.shape()).unwrap_or_else(|_| logits.clone())
}

fn log_softmax_row(row: &[f64]) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = row
        .iter()
        .map(|value| (value - max).exp())
        .sum::<f64>()
        .ln()
        + max;
    row.iter().map(|value| value - log_sum).collect()
}

fn divergence(truth: &[f64], value: &[f64]) -> f64 {
    let (truth, value) = (log_softmax_row(truth), log_softmax_row(value));
    // An impossible token adds nothing, whatever the other side thinks of it.
    truth
        .iter()
        .zip(&value)
        .filter(|(t, _)| **t != f64::NEG_INFINITY)
        .map(|(t, v)| t.exp() * (t - v))
        .sum()
}

fn argmax(row: &[f64]) -> Option<usize> {
    (0..row.len())
        .filter(|&i| !row[i].is_nan())
        .max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)))
}

fn margin(row: &[f64]) -> f64 {
    let mut sorted = row.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    match sorted[..] {
        [best, second, ..] => best - second,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(pos: usize) -> Region {
        Region::new(&Tensor::from_vec(vec![1_i64; pos], &[1, pos]).unwrap()).unwrap()
    }

    fn logits(values: &[f64], pos: usize) -> Tensor {
        Tensor::from_vec(values.to_vec(), &[1, pos, values.len() / pos]).unwrap()
    }

    #[test]
    fn a_shift_of_all_logits_changes_nothing() {
        let truth = logits(&[1.0, 2.0, 0.5, -3.0], 2);
        let shifted = logits(&[101.0, 102.0, 0.5 - 7.0, -10.0], 2);
        let found = agreement(&shifted, &truth, &region(2)).unwrap();
        assert!(found.max_kl.abs() < 1e-12);
        assert_eq!((found.top1, found.rows), (1.0, 2));
    }

    #[test]
    fn a_disagreement_reports_how_clear_the_truth_was() {
        let found = agreement(
            &logits(&[0.0, 1.0, 5.0, 0.0], 2),
            &logits(&[0.25, 0.0, 5.0, 0.0], 2),
            &region(2),
        )
        .unwrap();
        assert_eq!((found.top1, found.worst_margin), (0.5, 0.25));
    }

    #[test]
    fn nan_is_not_agreement() {
        let found = agreement(
            &logits(&[f64::NAN, 1.0], 1),
            &logits(&[2.0, 1.0], 1),
            &region(1),
        )
        .unwrap();
        assert_eq!(found.top1, 0.0);
        assert!(found.max_kl.is_nan());
    }

    proptest! {
        #[test]
        fn kl_is_never_negative(a in prop::collection::vec(-20.0_f64..20.0, 5), b in prop::collection::vec(-20.0_f64..20.0, 5)) {
            let found = agreement(&logits(&a, 1), &logits(&b, 1), &region(1)).unwrap();
            prop_assert!(found.max_kl >= -1e-12);
        }

        #[test]
        fn probabilities_sum_to_one(row in prop::collection::vec(-700.0_f64..700.0, 1..9)) {
            let sum: f64 = log_softmax(&logits(&row, 1)).to_f64_vec().iter().map(|v| v.exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9);
        }
    }
}
