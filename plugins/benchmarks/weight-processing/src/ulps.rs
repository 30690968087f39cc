//! How far a processed weight is from its formula, in units of what its precision can tell apart.

use tlbench_sdk::judge::{explain, ratio_text};
use tlbench_sdk::{
    DType, Divergence, Evaluation, ModelInfo, PluginError, Quantity, Severity, Verdict,
};

use crate::array::Axis;
use crate::comparison::Comparison;
use crate::expected::Raw;
use crate::formulas::Formula;
use crate::values::Values;

/// A weight that is rounded once is half a unit off at most.
const ROUNDED_ONCE: f64 = 1.0;
/// What was worked out in the weight's own precision is off by a few; what is wrong, by thousands.
const ROUNDED_OFTEN: f64 = 10.0;

/// One weight beside its formula. All figures are in units in the last place of the weight's maximum.
pub(crate) struct Fit<'a> {
    formula: &'a Formula,
    /// The largest difference of an element; infinite where it is missing, of another shape, or NaN.
    difference: f64,
    /// The largest mean over an axis that has to be without one.
    mean: Option<(Axis, f64)>,
    problem: Option<String>,
}

impl<'a> Fit<'a> {
    pub(crate) fn new(
        formula: &'a Formula,
        raw: &Raw,
        processed: &Raw,
        dtype: DType,
    ) -> Result<Self, PluginError> {
        let expected = formula.expected.value(raw)?;
        let broken = |problem: String| Self {
            formula,
            difference: f64::INFINITY,
            mean: None,
            problem: Some(problem),
        };
        let Some(shown) = processed.get(&formula.name) else {
            return Ok(broken("the subject does not show it".into()));
        };
        let value = Values::Shown(shown);
        let is_constant = expected.shape().is_empty();
        if !is_constant && expected.shape() != value.shape() {
            let (found, shape) = (value.shape(), expected.shape());
            return Ok(broken(format!(
                "shape {found:?} where {shape:?} is expected"
            )));
        }
        let bound = formula.expected.bound(raw)?;
        // f64 sums of so many summands lose as much themselves, which decides where f64 is on trial.
        let lost = DType::F64.roundoff() * bound.summands as f64 * bound.largest;
        let axes = formula.expected.centred_axes().into_iter();
        let axes: Vec<Axis> = axes.filter(|axis| formula.free != Some(*axis)).collect();
        let Comparison {
            largest,
            difference,
            means,
        } = compared(&value, expected, &axes, formula.free);
        let unit = spacing(largest, dtype).max(lost);
        let means = axes.into_iter().zip(means);
        let means = means.map(|(axis, mean)| (axis, in_units(infinite_if_nan(mean), unit)));
        Ok(Self {
            formula,
            difference: in_units(infinite_if_nan(difference), unit),
            mean: means.max_by(|a, b| a.1.total_cmp(&b.1)),
            problem: None,
        })
    }

    fn worst(&self) -> f64 {
        self.mean
            .map_or(self.difference, |(_, mean)| mean.max(self.difference))
    }

    fn severity(&self) -> Severity {
        let worst = self.worst();
        if worst <= ROUNDED_ONCE {
            Severity::Info
        } else if worst <= ROUNDED_OFTEN {
            Severity::Warning
        } else {
            Severity::Danger
        }
    }

    fn reason(&self) -> String {
        match (&self.problem, self.mean) {
            (Some(problem), _) => problem.clone(),
            (None, Some((axis, mean))) if mean > ROUNDED_OFTEN => {
                format!(
                    "keeps a mean over its {} of {} ulp",
                    axis.name(),
                    ratio_text(mean)
                )
            }
            _ => format!(
                "{} ulp from what the raw weights give",
                ratio_text(self.difference)
            ),
        }
    }
}

/// The verdict on all weights of a check: the first that does not follow its formula is the headline.
pub(crate) fn verdict(fits: &[Fit<'_>], model: &ModelInfo) -> Verdict {
    if let Some(failed) = fits.iter().find(|fit| fit.severity() == Severity::Danger) {
        return failure(failed, fits, model);
    }
    let Some(worst) = fits.iter().max_by(|a, b| a.worst().total_cmp(&b.worst())) else {
        return Verdict::new(Severity::Danger, "no weight was looked at");
    };
    let name = &worst.formula.name;
    let count = match fits.len() {
        1 => "1 weight is".to_owned(),
        several => format!("{several} weights are"),
    };
    let message = format!(
        "{count} what raw ones give, to {} ulp of the maximum ({name})",
        ratio_text(worst.worst())
    );
    let verdict = Verdict::new(worst.severity(), message);
    let means = fits.iter().filter_map(|fit| fit.mean.map(|(_, mean)| mean));
    match means.max_by(f64::total_cmp) {
        Some(mean) => verdict.detail(
            "largest mean of a centred weight",
            format!("{} ulp", ratio_text(mean)),
        ),
        None => verdict,
    }
}

fn failure(failed: &Fit<'_>, fits: &[Fit<'_>], model: &ModelInfo) -> Verdict {
    let name = &failed.formula.name;
    let divergence = Divergence {
        quantity: Quantity::Weight(name.clone()),
        evaluation: Evaluation::Cumulative,
        ratio: failed.worst(),
        reason: failed.reason(),
    };
    let wrong = fits.iter().filter(|fit| fit.severity() == Severity::Danger);
    let wrong: Vec<&str> = wrong.map(|fit| fit.formula.name.as_str()).collect();
    let message = format!("{name}: {}", divergence.reason);
    let verdict = Verdict::new(Severity::Danger, message)
        .detail("expected", failed.formula.expected.to_string())
        .detail(
            "wrong",
            format!("{} of {}: {}", wrong.len(), fits.len(), wrong.join(", ")),
        );
    let mut verdict = explain(verdict, model, &divergence);
    verdict.first_divergence = Some(divergence);
    verdict
}

/// `value` beside what is expected; their difference is without the mean along `free` on either side.
fn compared(
    value: &Values<'_>,
    expected: Values<'_>,
    axes: &[Axis],
    free: Option<Axis>,
) -> Comparison {
    let compared = Comparison::new(value, &expected, axes);
    let Some(axis) = free else { return compared };
    let [value, expected] = [value.clone(), expected].map(|values| values.centred(axis));
    Comparison {
        difference: Comparison::new(&value, &expected, &[]).difference,
        ..compared
    }
}

fn infinite_if_nan(value: f64) -> f64 {
    if value.is_nan() { f64::INFINITY } else { value }
}

fn in_units(distance: f64, unit: f64) -> f64 {
    if distance == 0.0 {
        0.0
    } else {
        distance / unit
    }
}

/// The distance between neighbouring numbers of `dtype` at `magnitude`.
fn spacing(magnitude: f64, dtype: DType) -> f64 {
    if magnitude == 0.0 {
        0.0
    } else {
        2.0 * dtype.roundoff() * magnitude.log2().floor().exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_gap_between_neighbours() {
        for magnitude in [1.0_f32, 1.5, 3.999, 0.1] {
            let gap = f64::from(magnitude.next_up()) - f64::from(magnitude);
            assert_eq!(spacing(f64::from(magnitude), DType::F32), gap);
        }
    }
}
