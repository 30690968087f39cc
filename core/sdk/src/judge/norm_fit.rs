//! Whether a norm's gain and bias are at fault, or what reads the norm: solved for.
//!
//! Norms show what they make before their gain and bias. What reads a norm shows `W (gain * x + bias) + b`, which is linear in
//! gain and bias, so whether there are any with which all readers would show the truth is a question of least squares.

#[cfg(test)]
mod tests;

use super::comparison::{Comparison, Outcome};
use super::least_squares::{NormalEquations, dot};
use super::readers::{Reader, Readers};
use super::requests::{answer_of, truth_of};
use crate::error::PluginError;
use crate::tensor::Tensor;
use crate::trace::{Evaluation, Quantity, Trace};

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NormFit {
    /// With another gain and bias of the norm all that reads it is right, up to this error ratio.
    Explains { worst: f64 },
    /// With none.
    ExplainsNot,
}

/// What the truth and the subject show on true inputs, and the weights in between.
pub(super) struct Answers<'a> {
    pub(super) truth: &'a Trace,
    pub(super) local: &'a Trace,
    pub(super) weights: &'a Trace,
}

/// Solves for what the norm's gain and bias are off by.
///
/// # Errors
/// If something that was asked for is missing.
pub(super) fn fit(
    readers: &Readers,
    comparison: &Comparison<'_>,
    answers: &Answers<'_>,
) -> Result<NormFit, PluginError> {
    let products = readers.list.iter();
    let products = products.map(|reader| Product::of(reader, readers.width, comparison, answers));
    let products: Option<Vec<Product<'_>>> = products.collect::<Result<_, PluginError>>()?;
    let normalized = truth_of(answers.truth, &readers.normalized())?;
    let input = rows_of(normalized, readers.width, comparison);
    let (Some(products), Some(input)) = (products, input) else {
        return Ok(NormFit::ExplainsNot);
    };
    let outputs: usize = products.iter().map(Product::outputs).sum();
    // Among fewer outputs than inputs any shift is one of the norm's bias: it may as well be the reader's own.
    let has_bias = outputs > readers.width;
    let unknowns = (readers.width * (1 + usize::from(has_bias))).min(readers.width * input.len());
    if 2 * outputs * input.len() < 3 * unknowns {
        return Ok(NormFit::ExplainsNot);
    }
    let Some(change) = solved(&products, &input, readers.width, has_bias) else {
        return Ok(NormFit::ExplainsNot);
    };
    let mut worst = 0.0_f64;
    for product in &products {
        match product.measured(&change, &input, comparison)? {
            Outcome::Measured(one) if one.severity.passed() => worst = worst.max(one.ratio),
            Outcome::Measured(_) | Outcome::Broken(_) => return Ok(NormFit::ExplainsNot),
        }
    }
    Ok(NormFit::Explains { worst })
}

/// What gain and bias are off by.
struct Change {
    gain: Vec<f64>,
    bias: Vec<f64>,
}

impl Change {
    /// What it changes in what the norm gives for `x`.
    fn at(&self, x: &[f64]) -> Vec<f64> {
        let scaled = self.gain.iter().zip(x).map(|(gain, x)| gain * x);
        scaled
            .zip(&self.bias)
            .map(|(scaled, bias)| scaled + bias)
            .collect()
    }
}

/// One reader: `[groups, width, columns]` of it multiply what the norm gives.
struct Product<'a> {
    hook: &'a Quantity,
    found: &'a Tensor,
    truth: &'a Tensor,
    weight: Vec<f64>,
    groups: usize,
    columns: usize,
    /// At each position that counts: the truth without what was found.
    missing: Vec<Vec<f64>>,
    floor: f64,
}

impl<'a> Product<'a> {
    /// `None` if a value is not finite, or not of the shape that it should be.
    fn of(
        reader: &'a Reader,
        width: usize,
        comparison: &Comparison<'_>,
        answers: &Answers<'a>,
    ) -> Result<Option<Self>, PluginError> {
        let weight = answer_of(answers.weights, &reader.weight)?;
        let (groups, columns) = match *weight.shape() {
            [groups, of, columns] if of == width => (groups, columns),
            [of, columns] if of == width => (1, columns),
            _ => return Ok(None),
        };
        let found = answer_of(answers.local, &reader.hook)?;
        let truth = truth_of(answers.truth, &reader.hook)?;
        let outputs = groups * columns;
        let both = rows_of(truth, outputs, comparison).zip(rows_of(found, outputs, comparison));
        let Some((truths, founds)) = both else {
            return Ok(None);
        };
        let rows = truths.iter().zip(&founds);
        let missing = rows.map(|(truth, found)| {
            let pairs = truth.iter().zip(found);
            pairs.map(|(truth, found)| truth - found).collect()
        });
        Ok(Some(Self {
            hook: &reader.hook,
            found,
            truth,
            weight: weight.to_f64_vec(),
            groups,
            columns,
            missing: missing.collect(),
            floor: reader.floor,
        }))
    }

    fn outputs(&self) -> usize {
        self.groups * self.columns
    }

    /// The weights between channel `input` of the norm and group `group`.
    fn row(&self, group: usize, input: usize) -> &[f64] {
        let width = self.weight.len() / self.outputs();
        let start = (group * width + input) * self.columns;
        &self.weight[start..start + self.columns]
    }

    /// How alike the weights of two channels are.
    fn of_inputs(&self, a: usize, b: usize) -> f64 {
        let groups = 0..self.groups;
        let dots = groups.map(|group| dot(self.row(group, a), self.row(group, b)));
        dots.sum::<f64>() / self.floor.powi(2)
    }

    /// What is missing at a position, as channel `input` sees it.
    fn of_missing(&self, position: usize, input: usize) -> f64 {
        let parts = self.missing[position].chunks_exact(self.columns);
        let dots = parts.enumerate();
        let dots = dots.map(|(group, missing)| dot(self.row(group, input), missing));
        dots.sum::<f64>() / self.floor.powi(2)
    }

    /// What was found, with `change`, beside the truth.
    fn measured(
        &self,
        change: &Change,
        input: &[Vec<f64>],
        comparison: &Comparison<'_>,
    ) -> Result<Outcome, PluginError> {
        let mut values = self.found.to_f64_vec();
        let outputs = self.outputs();
        for (place, x) in comparison.places().zip(input) {
            let given = change.at(x);
            let row = &mut values[place * outputs..(place + 1) * outputs];
            for (group, part) in row.chunks_exact_mut(self.columns).enumerate() {
                for (channel, given) in given.iter().enumerate() {
                    for (value, weight) in part.iter_mut().zip(self.row(group, channel)) {
                        *value += weight * given;
                    }
                }
            }
        }
        let fitted = Tensor::from_vec(values, self.found.shape());
        let fitted = fitted.map_err(|error| PluginError::internal(error.to_string()))?;
        comparison.measure(self.hook, Evaluation::Local, Some(&fitted), self.truth)
    }
}

/// The values at each position that counts; `None` if there are not `width` at each, or one is not finite.
fn rows_of(value: &Tensor, width: usize, comparison: &Comparison<'_>) -> Option<Vec<Vec<f64>>> {
    let all = value.to_f64_vec();
    let row = |place: usize| {
        let row = all.get(place * width..(place + 1) * width)?;
        row.iter()
            .all(|value| value.is_finite())
            .then(|| row.to_vec())
    };
    let positions: usize = value.shape().iter().take(2).product();
    if positions * width != all.len() {
        return None;
    }
    comparison.places().map(row).collect()
}

/// The change with which what is missing is as little as it gets, in units of the floors.
fn solved(
    products: &[Product<'_>],
    input: &[Vec<f64>],
    width: usize,
    has_bias: bool,
) -> Option<Change> {
    let mut equations = NormalEquations::new(width * (1 + usize::from(has_bias)));
    let sums: Vec<f64> = (0..width)
        .map(|channel| input.iter().map(|x| x[channel]).sum())
        .collect();
    for i in 0..width {
        for j in 0..=i {
            let alike: f64 = products.iter().map(|product| product.of_inputs(i, j)).sum();
            let squares: f64 = input.iter().map(|x| x[i] * x[j]).sum();
            equations.add(i, j, squares * alike);
            if has_bias {
                equations.add(width + i, j, sums[j] * alike);
                if i != j {
                    equations.add(width + j, i, sums[i] * alike);
                }
                equations.add(width + i, width + j, input.len() as f64 * alike);
            }
        }
        for (position, x) in input.iter().enumerate() {
            let missing = products.iter();
            let missing: f64 = missing.map(|product| product.of_missing(position, i)).sum();
            equations.add_right(i, x[i] * missing);
            if has_bias {
                equations.add_right(width + i, missing);
            }
        }
    }
    let mut gain = equations.solve()?;
    let mut bias = gain.split_off(width);
    bias.resize(width, 0.0);
    Some(Change { gain, bias })
}
