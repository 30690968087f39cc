//! An intervention, made ready for the value that it edits.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use tlbench_sdk::{Action, Intervention, TensorMap, noise};

use crate::convert::to_candle;
use crate::error::{Error, Result};

/// An edit of one value.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    change: Change,
    /// 1 where it applies, of the value's shape; `None`: everywhere.
    chosen: Option<Tensor>,
}

#[derive(Clone, Debug)]
enum Change {
    Zero,
    Scale(f64),
    Add(Tensor),
    Replace(Tensor),
    Perturb { noise: Tensor, relative: f64 },
}

/// What is edited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
    /// The dimension that counts query positions.
    pub(crate) position_axis: Option<usize>,
    pub(crate) dtype: DType,
}

impl Edit {
    pub(crate) fn new(
        intervention: &Intervention,
        operands: &TensorMap,
        subject: Subject<'_>,
    ) -> Result<Self> {
        let change = match &intervention.action {
            Action::Zero => Change::Zero,
            Action::Scale { factor } => Change::Scale(*factor),
            Action::Add { operand } => Change::Add(summand(operands, operand, subject)?),
            Action::Replace { operand } => Change::Replace(same(operands, operand, subject)?),
            Action::Perturb { seed, relative } => {
                let count = subject.shape.iter().product();
                let noise = Tensor::from_vec(noise(*seed, count), subject.shape, &Device::Cpu)?;
                Change::Perturb {
                    noise: noise.to_dtype(subject.dtype)?,
                    relative: *relative,
                }
            }
        };
        let chosen = chosen(intervention, subject)?;
        Ok(Self { change, chosen })
    }

    /// The part of it that is about `len` entries of dimension `dim` from `start` on.
    pub(crate) fn narrowed(&self, dim: usize, start: usize, len: usize) -> Result<Self> {
        let part = |tensor: &Tensor| -> Result<Tensor> {
            if tensor.dim(dim)? == len {
                return Ok(tensor.clone());
            }
            Ok(tensor.narrow(dim, start, len)?.contiguous()?)
        };
        let change = match &self.change {
            Change::Zero => Change::Zero,
            Change::Scale(factor) => Change::Scale(*factor),
            Change::Add(summand) => Change::Add(part(summand)?),
            Change::Replace(value) => Change::Replace(part(value)?),
            Change::Perturb { noise, .. } if noise.dim(dim)? != len => {
                // Its strength is that of the whole value, which is not there yet.
                let what = "a perturbation of a run in chunks";
                return Err(Error::Unanswerable(what.to_owned()));
            }
            perturb @ Change::Perturb { .. } => perturb.clone(),
        };
        let chosen = self.chosen.as_ref().map(part).transpose()?;
        Ok(Self { change, chosen })
    }

    pub(crate) fn apply(&self, value: &Tensor) -> CandleResult<Tensor> {
        let edited = match &self.change {
            Change::Zero => value.zeros_like()?,
            Change::Scale(factor) => (value * *factor)?,
            Change::Add(summand) => (value + summand)?,
            Change::Replace(replacement) => replacement.clone(),
            Change::Perturb { noise, relative } => {
                let values = value
                    .to_dtype(DType::F64)?
                    .flatten_all()?
                    .to_vec1::<f64>()?;
                let strength = relative * self.rms(&values)?;
                (value + (noise * strength)?)?
            }
        };
        match &self.chosen {
            None => Ok(edited),
            Some(chosen) => chosen.where_cond(&edited, &value.contiguous()?),
        }
    }

    /// Of the chosen elements that are finite.
    fn rms(&self, values: &[f64]) -> CandleResult<f64> {
        let chosen = match &self.chosen {
            Some(chosen) => chosen.flatten_all()?.to_vec1::<u8>()?,
            None => vec![1; values.len()],
        };
        let counted = values
            .iter()
            .zip(chosen)
            .filter(|(value, chosen)| *chosen == 1 && value.is_finite());
        let (sum, count) = counted.fold((0.0, 0_usize), |(sum, count), (value, _)| {
            (sum + value * value, count + 1)
        });
        Ok((sum / count.max(1) as f64).sqrt())
    }
}

fn operand<'a>(operands: &'a TensorMap, name: &str) -> Result<&'a tlbench_sdk::Tensor> {
    let found = operands.get(name);
    found.ok_or_else(|| Error::request(name, "an operand", "nothing"))
}

fn summand(operands: &TensorMap, name: &str, subject: Subject<'_>) -> Result<Tensor> {
    let tensor = operand(operands, name)?;
    let summand = to_candle(tensor, subject.dtype)?;
    // A larger operand would broadcast the value, and not the other way round.
    let summand = summand.broadcast_as(subject.shape).map_err(|_| {
        Error::request(
            subject.name,
            format!("an operand that broadcasts to {:?}", subject.shape),
            format!("shape {:?}", tensor.shape()),
        )
    })?;
    Ok(summand.contiguous()?)
}

fn same(operands: &TensorMap, name: &str, subject: Subject<'_>) -> Result<Tensor> {
    let tensor = operand(operands, name)?;
    if tensor.shape() != subject.shape {
        let (expected, found) = (subject.shape, tensor.shape());
        return Err(Error::request(
            subject.name,
            format!("an operand of shape {expected:?}"),
            format!("shape {found:?}"),
        ));
    }
    to_candle(tensor, subject.dtype)
}

fn chosen(intervention: &Intervention, subject: Subject<'_>) -> Result<Option<Tensor>> {
    let Intervention {
        rows, positions, ..
    } = intervention;
    if rows.is_none() && positions.is_none() {
        return Ok(None);
    }
    let mut chosen = Tensor::ones(subject.shape, DType::U8, &Device::Cpu)?;
    if let Some(rows) = rows {
        chosen = chosen.broadcast_mul(&along(0, rows, subject)?)?;
    }
    if let Some(positions) = positions {
        let axis = subject
            .position_axis
            .ok_or_else(|| Error::request(subject.name, "a value with positions", "one without"))?;
        chosen = chosen.broadcast_mul(&along(axis, positions, subject)?)?;
    }
    Ok(Some(chosen))
}

/// 1 at `indices` of dimension `dim`.
fn along(dim: usize, indices: &[usize], subject: Subject<'_>) -> Result<Tensor> {
    let size = subject.shape.get(dim).copied().unwrap_or(0);
    if let Some(outside) = indices.iter().find(|&&index| index >= size) {
        let expected = format!("an index below {size}");
        return Err(Error::request(subject.name, expected, outside.to_string()));
    }
    let flags: Vec<u8> = (0..size)
        .map(|index| u8::from(indices.contains(&index)))
        .collect();
    let mut shape = vec![1; subject.shape.len()];
    shape[dim] = size;
    Ok(Tensor::from_vec(flags, shape, &Device::Cpu)?)
}

/// `weight` after `intervention`.
pub(crate) fn edited_weight(
    name: &str,
    weight: &Tensor,
    intervention: &Intervention,
    operands: &TensorMap,
) -> Result<Tensor> {
    let subject = Subject {
        name,
        shape: weight.dims(),
        position_axis: None,
        dtype: weight.dtype(),
    };
    let edit = Edit::new(intervention, operands, subject)?;
    Ok(edit.apply(weight)?)
}
