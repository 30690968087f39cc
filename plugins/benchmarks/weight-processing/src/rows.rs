//! Computations on rows of f64, in as many lanes as a processor computes at once.

const LANES: usize = 8;

/// The sum.
pub(crate) fn sum(row: &[f64]) -> f64 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        add(&mut lanes, chunk);
    }
    lanes.iter().chain(rest).sum()
}

/// Adds each value of `row` to the sum in its place.
pub(crate) fn add(sums: &mut [f64], row: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += value;
    }
}

/// Takes `amount` from each value.
pub(crate) fn lower(row: &mut [f64], amount: f64) {
    row.iter_mut().for_each(|value| *value -= amount);
}

/// The largest absolute value; NaN where there is one.
pub(crate) fn largest(row: &[f64]) -> f64 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value.abs());
        }
    }
    let rest = rest.iter().map(|value| value.abs());
    lanes.into_iter().chain(rest).fold(0.0, larger)
}

/// The largest absolute difference of two rows that are equally long; NaN where there is one.
pub(crate) fn largest_difference(one: &[f64], other: &[f64]) -> f64 {
    let ((ones, last), (others, other_last)) =
        (one.as_chunks::<LANES>(), other.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (one, other) in ones.iter().zip(others) {
        for ((lane, a), b) in lanes.iter_mut().zip(one).zip(other) {
            *lane = larger(*lane, (a - b).abs());
        }
    }
    let rest = last.iter().zip(other_last).map(|(a, b)| (a - b).abs());
    lanes.into_iter().chain(rest).fold(0.0, larger)
}

/// The larger one, or NaN if one is.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for all lanes, and for what is left.
    fn row() -> Vec<f64> {
        (0..21).map(|i| f64::from(i * i % 7) - 3.0).collect()
    }

    #[test]
    fn every_value_counts_wherever_it_stands() {
        assert_eq!(sum(&row()), row().iter().sum::<f64>());
        for place in 0..row().len() {
            let mut other = row();
            other[place] -= 10.0;
            assert_eq!(largest(&other), (row()[place] - 10.0).abs(), "{place}");
            assert_eq!(largest_difference(&row(), &other), 10.0, "{place}");
            assert_eq!(sum(&other), sum(&row()) - 10.0, "{place}");
        }
    }

    #[test]
    fn one_nan_is_the_largest_wherever_it_stands() {
        for place in 0..row().len() {
            let mut other = row();
            other[place] = f64::NAN;
            assert!(largest(&other).is_nan(), "{place}");
            assert!(largest_difference(&row(), &other).is_nan(), "{place}");
            assert!(largest_difference(&other, &row()).is_nan(), "{place}");
        }
    }
}
