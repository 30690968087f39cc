//! Whether an identity holds on one input.

use tlbench_sdk::compare::{Axes, Gate, Region, compare, error_ratio};
use tlbench_sdk::spec::NormKind;
use tlbench_sdk::{
    DType, Divergence, Evaluation, HookPoint, Measurement, PluginError, Quantity, Tensor, Trace,
};

use crate::addends::{Total, rms, rms_of};
use crate::identities::{Claim, Identity};
use crate::values::Visible;

/// What came of one identity.
pub(crate) enum Judged {
    Measured(Measurement),
    Broken(Divergence),
}

/// What is known about the run.
pub(crate) struct Run<'a> {
    pub(crate) answer: &'a Trace,
    pub(crate) hooks: &'a [HookPoint],
    pub(crate) visible: &'a Visible<'a>,
    pub(crate) dtype: DType,
}

/// Both sides of an identity.
struct Sides {
    value: Tensor,
    expected: Tensor,
    axes: Axes,
    floor: f64,
}

impl Run<'_> {
    pub(crate) fn judge(&self, identity: &Identity) -> Result<Judged, PluginError> {
        let quantity = Quantity::hook(&identity.hook);
        let broken = |reason: String| Divergence {
            quantity: quantity.clone(),
            evaluation: Evaluation::Cumulative,
            ratio: f64::INFINITY,
            reason,
        };
        let Sides {
            value,
            expected,
            axes,
            floor,
        } = match self.sides(identity) {
            Ok(sides) => sides,
            Err(error) => return Ok(Judged::Broken(broken(error.message))),
        };
        let difference = match compare(&value, &expected, axes, self.region()) {
            Ok(difference) => difference,
            Err(error) => return Ok(Judged::Broken(broken(error.to_string()))),
        };
        let ratio = error_ratio(&difference, floor);
        let severity = Gate::for_rows(difference.rows).severity(ratio);
        Ok(Judged::Measured(Measurement {
            quantity,
            evaluation: Evaluation::Cumulative,
            ratio,
            floor,
            severity,
            difference,
            closeness: None,
            pattern: Vec::new(),
        }))
    }

    fn sides(&self, identity: &Identity) -> Result<Sides, PluginError> {
        let (value, axes) = self.hook(&identity.hook)?;
        match &identity.claim {
            Claim::Sum(summands) => {
                let mut total = Total::zero(value.len());
                for summand in summands {
                    let (tensor, of) = self.hook(&summand.hook)?;
                    let size = summand.factor.abs() * rms(tensor, of, self.region())?;
                    let values = same_shape(tensor, value)?;
                    total.add(size, |i| summand.factor * values[i]);
                    total.rounded(usize::from(summand.factor != 1.0));
                }
                total.rounded(summands.len().saturating_sub(1));
                self.beside(value, axes, &total)
            }
            Claim::Heads {
                heads,
                bias,
                d_head,
            } => self.heads(value, axes, heads, bias.as_deref(), *d_head),
            Claim::Normalized { scale, input, kind } => {
                self.normalized(value, axes, scale, input, *kind)
            }
            Claim::Finished {
                normalized,
                gain,
                bias,
            } => {
                let (tensor, of) = self.hook(normalized)?;
                let values = same_shape(tensor, value)?;
                let width = value.shape().last().copied().unwrap_or(1);
                let gain = gain
                    .as_deref()
                    .map(|name| self.weight(name, width))
                    .transpose()?;
                let gain = gain.unwrap_or_else(|| vec![1.0; width]);
                let mut total = Total::zero(value.len());
                let size = rms(tensor, of, self.region())? * rms_of(&gain);
                total.add(size, |i| values[i] * gain[i % width]);
                if let Some(bias) = bias {
                    let bias = self.weight(bias, width)?;
                    total.add(rms_of(&bias), |i| bias[i % width]);
                    total.rounded(1);
                }
                // The product, and the value as it is stored.
                total.rounded(2);
                self.beside(value, axes, &total)
            }
            Claim::RowsSumToOne => self.rows(value, axes, &identity.hook),
        }
    }

    fn heads(
        &self,
        value: &Tensor,
        axes: Axes,
        heads: &str,
        bias: Option<&str>,
        d_head: usize,
    ) -> Result<Sides, PluginError> {
        let (results, _) = self.hook(heads)?;
        let &[batch, pos, n_heads, d_model] = results.shape() else {
            return Err(misfit(results.shape(), value.shape()));
        };
        if value.shape() != [batch, pos, d_model] {
            return Err(misfit(results.shape(), value.shape()));
        }
        let results = results.to_f64_vec();
        let mut total = Total::zero(value.len());
        for head in 0..n_heads {
            let element =
                |i: usize| results[(i / d_model * n_heads + head) * d_model + i % d_model];
            let values: Vec<f64> = (0..value.len()).map(element).collect();
            let tensor = Tensor::from_vec(values, value.shape())?;
            total.add(rms(&tensor, axes, self.region())?, element);
        }
        if let Some(bias) = bias {
            let bias = self.weight(bias, d_model)?;
            total.add(rms_of(&bias), |i| bias[i % d_model]);
            total.rounded(1);
        }
        total.rounded(n_heads * d_head);
        self.beside(value, axes, &total)
    }

    fn normalized(
        &self,
        value: &Tensor,
        axes: Axes,
        scale: &str,
        input: &str,
        kind: NormKind,
    ) -> Result<Sides, PluginError> {
        let ((scale, _), (stream, of)) = (self.hook(scale)?, self.hook(input)?);
        let width = value.shape().last().copied().unwrap_or(1).max(1);
        let (values, scales, x) = (
            value.to_f64_vec(),
            scale.to_f64_vec(),
            same_shape(stream, value)?,
        );
        if scales.len() * width != values.len() {
            return Err(misfit(scale.shape(), value.shape()));
        }
        let means: Vec<f64> = match kind {
            NormKind::LayerNorm => x
                .chunks(width)
                .map(|row| row.iter().sum::<f64>() / width as f64)
                .collect(),
            NormKind::RmsNorm => vec![0.0; scales.len()],
        };
        let mut total = Total::zero(x.len());
        total.add(rms(stream, of, self.region())?, |i| x[i] - means[i / width]);
        // The quotient, and the scale; and the sum that the mean is.
        total.rounded(2);
        if kind == NormKind::LayerNorm {
            total.rounded(width);
        }
        let products = values
            .iter()
            .enumerate()
            .map(|(i, value)| value * scales[i / width]);
        let product = Tensor::from_vec(products.collect(), value.shape())?;
        self.beside(&product, axes, &total)
    }

    /// The sums of the rows of a pattern, where a row sees something.
    fn rows(&self, value: &Tensor, axes: Axes, hook: &str) -> Result<Sides, PluginError> {
        let &[batch, heads, queries, keys] = value.shape() else {
            return Err(misfit(value.shape(), &[]));
        };
        let pattern = value.to_f64_vec();
        let sums: Vec<f64> = pattern
            .chunks(keys.max(1))
            .map(|row| row.iter().sum())
            .collect();
        let sees = |row: usize| {
            self.visible
                .sees_any(hook, row / (heads * queries), row % queries, keys)
        };
        let rows = sums.iter().enumerate();
        // A row that sees nothing is not looked at: it is what it is.
        let expected = rows.map(|(row, sum)| if sees(row) { 1.0 } else { *sum });
        let shape = [batch, heads, queries];
        let mut total = Total::zero(sums.len());
        let expected: Vec<f64> = expected.collect();
        let size = rms(value, axes, self.region())? * (keys as f64).sqrt();
        total.add(size, |i| expected[i]);
        total.rounded(keys);
        self.beside(&Tensor::from_vec(sums, &shape)?, axes, &total)
    }

    fn beside(&self, value: &Tensor, axes: Axes, total: &Total) -> Result<Sides, PluginError> {
        let expected = Tensor::from_vec(total.values.clone(), value.shape())?;
        let floor = total.floor(self.dtype.roundoff(), rms(&expected, axes, self.region())?);
        Ok(Sides {
            value: value.clone(),
            expected,
            axes,
            floor,
        })
    }

    fn region(&self) -> &Region {
        self.visible.region()
    }

    fn hook(&self, name: &str) -> Result<(&Tensor, Axes), PluginError> {
        let value = self.answer.value(&Quantity::hook(name));
        let hook = self.hooks.iter().find(|hook| hook.name == name);
        let (value, hook) = value.zip(hook).ok_or_else(|| {
            PluginError::invalid_input(format!("the subject does not show {name}"))
        })?;
        Ok((value, Axes::of_hook(hook)))
    }

    fn weight(&self, name: &str, width: usize) -> Result<Vec<f64>, PluginError> {
        let value = self.answer.value(&Quantity::Weight(name.to_owned()));
        let values = value.map(Tensor::to_f64_vec).unwrap_or_default();
        if values.len() == width {
            Ok(values)
        } else {
            let (found, name) = (values.len(), name.to_owned());
            let message = format!("weight {name}: expected {width} elements, found {found}");
            Err(PluginError::invalid_input(message))
        }
    }
}

fn same_shape(tensor: &Tensor, like: &Tensor) -> Result<Vec<f64>, PluginError> {
    if tensor.shape() == like.shape() {
        Ok(tensor.to_f64_vec())
    } else {
        Err(misfit(tensor.shape(), like.shape()))
    }
}

fn misfit(found: &[usize], expected: &[usize]) -> PluginError {
    PluginError::invalid_input(format!("shape {found:?} does not go with {expected:?}"))
}
