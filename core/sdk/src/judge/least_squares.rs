//! Least squares by their normal equations.

/// A symmetric positive semidefinite system.
pub(super) struct NormalEquations {
    size: usize,
    /// Row by row.
    matrix: Vec<f64>,
    right: Vec<f64>,
}

/// Of the largest on the diagonal: what is added to it, so that directions that nothing depends on do no harm.
const RIDGE: f64 = 1e-13;
/// How often what the ridge has left over is solved for again.
const REFINEMENTS: usize = 3;

impl NormalEquations {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            matrix: vec![0.0; size * size],
            right: vec![0.0; size],
        }
    }

    /// Adds `value` at `row`, `column`, and at the place that mirrors it.
    pub(super) fn add(&mut self, row: usize, column: usize, value: f64) {
        self.matrix[row * self.size + column] += value;
        if row != column {
            self.matrix[column * self.size + row] += value;
        }
    }

    /// Adds `value` to the right side at `row`.
    pub(super) fn add_right(&mut self, row: usize, value: f64) {
        self.right[row] += value;
    }

    /// The unknowns; nothing if the system is not finite.
    pub(super) fn solve(&self) -> Option<Vec<f64>> {
        let factor = self.factor()?;
        let mut unknowns = vec![0.0; self.size];
        for _ in 0..=REFINEMENTS {
            let left_over = self.left_over(&unknowns);
            let step = self.by_factor(&factor, left_over);
            for (unknown, step) in unknowns.iter_mut().zip(step) {
                *unknown += step;
            }
        }
        let is_finite = unknowns.iter().all(|unknown| unknown.is_finite());
        is_finite.then_some(unknowns)
    }

    /// The lower factor of Cholesky, of the matrix with its ridge.
    fn factor(&self) -> Option<Vec<f64>> {
        let n = self.size;
        let largest = (0..n).map(|i| self.matrix[i * n + i]).fold(0.0, f64::max);
        let mut factor = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let inner = dot(&factor[i * n..i * n + j], &factor[j * n..j * n + j]);
                let rest = self.matrix[i * n + j] - inner;
                factor[i * n + j] = if i == j {
                    let pivot = rest + RIDGE * largest;
                    // Not `<= 0`, which is not said of NaN.
                    if !(pivot > 0.0 && pivot.is_finite()) {
                        return None;
                    }
                    pivot.sqrt()
                } else {
                    rest / factor[j * n + j]
                };
            }
        }
        Some(factor)
    }

    fn left_over(&self, unknowns: &[f64]) -> Vec<f64> {
        let rows = self.matrix.chunks_exact(self.size);
        rows.zip(&self.right)
            .map(|(row, right)| right - dot(row, unknowns))
            .collect()
    }

    fn by_factor(&self, factor: &[f64], mut right: Vec<f64>) -> Vec<f64> {
        let n = self.size;
        for i in 0..n {
            let inner = dot(&factor[i * n..i * n + i], &right[..i]);
            right[i] = (right[i] - inner) / factor[i * n + i];
        }
        for i in (0..n).rev() {
            let below = (i + 1..n).map(|j| factor[j * n + i] * right[j]);
            right[i] = (right[i] - below.sum::<f64>()) / factor[i * n + i];
        }
        right
    }
}

/// The product of two vectors.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The equations of `rows * unknowns = wanted`.
    fn of(rows: &[Vec<f64>], wanted: &[f64]) -> NormalEquations {
        let size = rows[0].len();
        let mut equations = NormalEquations::new(size);
        for (row, wanted) in rows.iter().zip(wanted) {
            for i in 0..size {
                equations.add_right(i, row[i] * wanted);
                for j in 0..=i {
                    equations.add(i, j, row[i] * row[j]);
                }
            }
        }
        equations
    }

    proptest! {
        #[test]
        fn what_was_multiplied_is_found(
            rows in prop::collection::vec(prop::collection::vec(-1.0_f64..1.0, 4), 12..20),
            unknowns in prop::collection::vec(-3.0_f64..3.0, 4),
        ) {
            let wanted: Vec<f64> = rows.iter().map(|row| dot(row, &unknowns)).collect();
            let found = of(&rows, &wanted).solve().unwrap();
            for (row, wanted) in rows.iter().zip(wanted) {
                prop_assert!((dot(row, &found) - wanted).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_direction_that_nothing_depends_on_does_no_harm() {
        let rows = [vec![1.0, 1.0], vec![2.0, 2.0]];
        let found = of(&rows, &[3.0, 6.0]).solve().unwrap();
        assert!((found[0] + found[1] - 3.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn what_is_no_number_has_no_solution() {
        assert_eq!(of(&[vec![f64::NAN]], &[1.0]).solve(), None);
        assert_eq!(of(&[vec![0.0]], &[0.0]).solve(), None);
    }
}
