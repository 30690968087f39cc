//! Edits of a value or of a gradient.

use candle_core::{DType, Tensor};
use tlbench_sdk::{Action, Intervention, TensorMap, noise_at};

use crate::convert::to_candle;
use crate::error::EngineError;
use crate::ops::{self, Kernel, Real};

/// One intervention, made ready for a value of one shape.
pub(super) struct Edit {
    change: Change,
    /// Which elements it changes; `None`: all.
    chosen: Option<Vec<bool>>,
}

/// What happens to each chosen element; tensors are of the value's shape.
enum Change {
    Zero,
    Scale(f64),
    Add(Tensor),
    Replace(Tensor),
    Perturb { seed: u64, relative: f64 },
}

/// The value that an edit is for.
#[derive(Clone, Copy)]
pub(super) struct Edited<'a> {
    /// The hook.
    pub(super) name: &'a str,
    pub(super) shape: &'a [usize],
    /// The dimension that counts query positions.
    pub(super) position_axis: Option<usize>,
    pub(super) dtype: DType,
}

impl Edit {
    /// Checks `intervention` against the value that it is for.
    pub(super) fn new(
        intervention: &Intervention,
        operands: &TensorMap,
        value: Edited<'_>,
    ) -> Result<Self, EngineError> {
        let change = match &intervention.action {
            Action::Zero => Change::Zero,
            Action::Scale { factor } => Change::Scale(*factor),
            Action::Add { operand } => {
                let tensor = named(operands, operand)?;
                // A larger operand would broadcast the value, and not the other way round.
                let summand = to_candle(tensor)?.to_dtype(value.dtype)?;
                let summand = summand.broadcast_as(value.shape).map_err(|_| {
                    EngineError::request(
                        value.name,
                        format!("an operand that broadcasts to {:?}", value.shape),
                        format!("shape {:?}", tensor.shape()),
                    )
                })?;
                Change::Add(summand)
            }
            Action::Replace { operand } => {
                Change::Replace(replacement(named(operands, operand)?, value)?)
            }
            Action::Perturb { seed, relative } => Change::Perturb {
                seed: *seed,
                relative: *relative,
            },
        };
        let chosen = chosen(intervention, value)?;
        Ok(Self { change, chosen })
    }

    /// Puts `value` in the place of one of the same shape.
    pub(super) fn replacing(value: Tensor) -> Self {
        Self {
            change: Change::Replace(value),
            chosen: None,
        }
    }

    /// The edited value, a constant.
    pub(super) fn apply(&self, value: &Tensor) -> candle_core::Result<Tensor> {
        match &self.change {
            Change::Add(operand) | Change::Replace(operand) => {
                ops::run_kernel(self, [value, operand], value.dims())
            }
            Change::Zero | Change::Scale(_) | Change::Perturb { .. } => {
                ops::run_kernel(self, [value], value.dims())
            }
        }
    }

    /// The gradient by the value before the edit, from that by the value after it. What a perturbation adds counts as a
    /// constant.
    pub(super) fn backward(&self, gradient: &Tensor) -> candle_core::Result<Tensor> {
        ops::run_kernel(&Backward(self), [gradient], gradient.dims())
    }

    fn is_chosen(&self, index: usize) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen[index])
    }

    /// Every element as `change` makes it if it is chosen.
    fn map<T: Real>(&self, values: &[T], change: impl Fn(usize, T) -> T) -> Vec<T> {
        let change = |(index, &value)| match self.is_chosen(index) {
            true => change(index, value),
            false => value,
        };
        values.iter().enumerate().map(change).collect()
    }

    fn perturbed<T: Real>(&self, values: &[T], seed: u64, relative: f64) -> Vec<T> {
        let finite = values
            .iter()
            .enumerate()
            .filter(|(index, _)| self.is_chosen(*index))
            .map(|(_, value)| value.to_f64())
            .filter(|value| value.is_finite());
        let (sum, count) = finite.fold((0.0, 0_usize), |(sum, count), value| {
            (sum + value * value, count + 1)
        });
        let strength = relative * (sum / count.max(1) as f64).sqrt();
        self.map(values, |index, value| match value.to_f64() {
            finite if finite.is_finite() => T::from_f64(finite + strength * noise_at(seed, index)),
            _ => value,
        })
    }
}

impl Kernel<1> for Edit {
    fn run<T: Real>(&self, [values]: [&[T]; 1]) -> Vec<T> {
        match self.change {
            Change::Scale(factor) => self.map(values, |_, value| value * T::from_f64(factor)),
            Change::Perturb { seed, relative } => self.perturbed(values, seed, relative),
            Change::Zero | Change::Add(_) | Change::Replace(_) => {
                self.map(values, |_, _| T::from_f64(0.0))
            }
        }
    }
}

impl Kernel<2> for Edit {
    fn run<T: Real>(&self, [values, operand]: [&[T]; 2]) -> Vec<T> {
        match self.change {
            Change::Add(_) => self.map(values, |index, value| value + operand[index]),
            _ => self.map(values, |index, _| operand[index]),
        }
    }
}

struct Backward<'a>(&'a Edit);

impl Kernel<1> for Backward<'_> {
    fn run<T: Real>(&self, [gradient]: [&[T]; 1]) -> Vec<T> {
        match self.0.change {
            Change::Zero | Change::Replace(_) => self.0.map(gradient, |_, _| T::from_f64(0.0)),
            Change::Scale(factor) => self.0.map(gradient, |_, by| by * T::from_f64(factor)),
            Change::Add(_) | Change::Perturb { .. } => gradient.to_vec(),
        }
    }
}

fn named<'a>(operands: &'a TensorMap, name: &str) -> Result<&'a tlbench_sdk::Tensor, EngineError> {
    operands
        .get(name)
        .ok_or_else(|| EngineError::request(name, "an operand", "nothing"))
}

/// `tensor` in the run's precision, with the shape of the value that it replaces.
pub(super) fn replacement(
    tensor: &tlbench_sdk::Tensor,
    value: Edited<'_>,
) -> Result<Tensor, EngineError> {
    if tensor.shape() != value.shape {
        return Err(EngineError::request(
            value.name,
            format!("shape {:?}", value.shape),
            format!("{:?}", tensor.shape()),
        ));
    }
    Ok(to_candle(tensor)?.to_dtype(value.dtype)?)
}

/// Which elements the rows and positions of `intervention` mean.
fn chosen(
    intervention: &Intervention,
    value: Edited<'_>,
) -> Result<Option<Vec<bool>>, EngineError> {
    let (rows, positions) = (&intervention.rows, &intervention.positions);
    if rows.is_none() && positions.is_none() {
        return Ok(None);
    }
    let mut chosen = vec![true; value.shape.iter().product()];
    if let Some(rows) = rows {
        keep(&mut chosen, value, 0, rows)?;
    }
    if let Some(positions) = positions {
        let axis = value.position_axis.ok_or_else(|| {
            EngineError::request(value.name, "a hook with positions", "one without")
        })?;
        keep(&mut chosen, value, axis, positions)?;
    }
    Ok(Some(chosen))
}

/// Leaves chosen what lies at one of `indices` of dimension `axis`.
fn keep(
    chosen: &mut [bool],
    value: Edited<'_>,
    axis: usize,
    indices: &[usize],
) -> Result<(), EngineError> {
    let size = value.shape[axis];
    if let Some(outside) = indices.iter().find(|&&index| index >= size) {
        return Err(EngineError::request(
            value.name,
            format!("an index below {size}"),
            outside.to_string(),
        ));
    }
    let width: usize = value.shape[axis + 1..].iter().product();
    for (block, chosen) in chosen.chunks_mut(width.max(1)).enumerate() {
        if !indices.contains(&(block % size)) {
            chosen.fill(false);
        }
    }
    Ok(())
}
