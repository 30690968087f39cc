//! What an [`Action`] does to numbers.

use tlbench_sdk::{Action, Tensor, TensorMap, noise};

use crate::error::EngineError;

/// `value` with `action` done to the elements that are `chosen`, by their place in row-major order.
pub(crate) fn edited(
    what: &str,
    value: &Tensor,
    action: &Action,
    operands: &TensorMap,
    chosen: impl Fn(usize) -> bool,
) -> Result<Vec<f64>, EngineError> {
    let before = value.to_f64_vec();
    let after: Vec<f64> = match action {
        Action::Zero => vec![0.0; before.len()],
        Action::Scale { factor } => before.iter().map(|value| value * factor).collect(),
        Action::Add { operand } => {
            let summand = broadcast(what, find(operands, operand)?, value.shape())?;
            before
                .iter()
                .zip(summand)
                .map(|(value, by)| value + by)
                .collect()
        }
        Action::Replace { operand } => {
            let replacement = find(operands, operand)?;
            if replacement.shape() != value.shape() {
                return Err(EngineError::request(
                    what,
                    format!("shape {:?}", value.shape()),
                    format!("{:?}", replacement.shape()),
                ));
            }
            replacement.to_f64_vec()
        }
        Action::Perturb { seed, relative } => {
            let edited = before
                .iter()
                .enumerate()
                .filter(|(index, _)| chosen(*index));
            let step = relative * rms(edited.map(|(_, value)| *value));
            let noise = noise(*seed, before.len()).into_iter();
            let perturbed = before.iter().zip(noise).map(|(value, noise)| {
                if value.is_finite() {
                    value + step * noise
                } else {
                    *value
                }
            });
            perturbed.collect()
        }
    };
    let both = before.into_iter().zip(after).enumerate();
    Ok(both
        .map(|(index, (before, after))| if chosen(index) { after } else { before })
        .collect())
}

/// Of the finite ones.
fn rms(values: impl Iterator<Item = f64>) -> f64 {
    let finite = values.filter(|value| value.is_finite());
    let (sum, count) = finite.fold((0.0, 0_u64), |(sum, count), value| {
        (sum + value * value, count + 1)
    });
    if count == 0 {
        0.0
    } else {
        (sum / count as f64).sqrt()
    }
}

fn find<'a>(operands: &'a TensorMap, name: &str) -> Result<&'a Tensor, EngineError> {
    let operand = operands.get(name);
    operand.ok_or_else(|| EngineError::request(name, "an operand", "nothing"))
}

/// The elements of `operand` as a tensor of `shape`, broadcast from the right.
fn broadcast(what: &str, operand: &Tensor, shape: &[usize]) -> Result<Vec<f64>, EngineError> {
    let misfit = || {
        EngineError::request(
            what,
            format!("an operand that broadcasts to {shape:?}"),
            format!("shape {:?}", operand.shape()),
        )
    };
    let missing = shape
        .len()
        .checked_sub(operand.shape().len())
        .ok_or_else(misfit)?;
    let fits = |(have, want): (&usize, &usize)| have == want || *have == 1;
    if !operand.shape().iter().zip(&shape[missing..]).all(fits) {
        return Err(misfit());
    }
    let values = crate::convert::to_candle(operand)?.to_dtype(candle_core::DType::F64)?;
    Ok(values
        .broadcast_as(shape)?
        .flatten_all()?
        .to_vec1::<f64>()?)
}
