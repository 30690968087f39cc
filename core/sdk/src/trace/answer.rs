//! What holds for every answer, whoever gives it.

use super::{INPUT_IDS, Quantity, Trace, TraceRequest};
use crate::tensor::{DType, Tensor};

/// An answer that answers nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Something is missing.
    #[error("{quantity} was asked for and not shown")]
    Missing {
        /// What was asked for.
        quantity: String,
    },
    /// The shape is not that of the question's input.
    #[error("{quantity}: expected shape {expected} for an input of {input:?}, found {found:?}")]
    Shape {
        /// What was asked for.
        quantity: String,
        /// In words.
        expected: String,
        /// The input's.
        input: [usize; 2],
        /// The answer's.
        found: Vec<usize>,
    },
    /// Integers where floats belong, or the other way round.
    #[error("{quantity}: expected {expected}, found {found}")]
    Elements {
        /// What was asked for.
        quantity: String,
        /// In words.
        expected: &'static str,
        /// What they are.
        found: DType,
    },
    /// A floor that no rounding error can be: it would let everything pass, or nothing.
    #[error("{quantity}: expected a finite {evaluation} floor of at least 0, found {found}")]
    Floor {
        /// Whose floor.
        quantity: String,
        /// Cumulative or local.
        evaluation: &'static str,
        /// In words, since it may be NaN.
        found: String,
    },
}

impl Trace {
    /// Whether this can be the answer to `request`: everything asked for is there, in shapes that fit the input, and
    /// floors are numbers. It runs before a trace leaves a plugin, and again where it arrives.
    ///
    /// Sizes that the architecture decides are not looked at: a difference in those is for the benchmarks to find.
    ///
    /// # Errors
    /// Names the first quantity that does not answer.
    pub fn check(&self, request: &TraceRequest) -> Result<(), TraceError> {
        for quantity in &request.capture {
            let value = self.value(quantity).ok_or_else(|| TraceError::Missing {
                quantity: quantity.to_string(),
            })?;
            fits(quantity, value, request)?;
        }
        for (quantity, floor) in &self.floors {
            for (evaluation, floor) in [
                ("cumulative", Some(floor.cumulative)),
                ("local", floor.local),
            ] {
                if let Some(floor) = floor.filter(|floor| !(floor.is_finite() && *floor >= 0.0)) {
                    return Err(TraceError::Floor {
                        quantity: quantity.to_string(),
                        evaluation,
                        found: format!("{floor:?}"),
                    });
                }
            }
        }
        Ok(())
    }
}

fn fits(quantity: &Quantity, value: &Tensor, request: &TraceRequest) -> Result<(), TraceError> {
    let is_integer = value.dtype() == DType::I64;
    let expected = match quantity {
        Quantity::Generated if !is_integer => Some("i64"),
        // A hook may show indices, of experts for instance.
        Quantity::Generated | Quantity::Hook(_) => None,
        _ if is_integer => Some("floats"),
        _ => None,
    };
    if let Some(expected) = expected {
        return Err(TraceError::Elements {
            quantity: quantity.to_string(),
            expected,
            found: value.dtype(),
        });
    }
    // What answers without an input, or refuses a strange one, is not for us to say.
    let Some(&[batch, pos]) = request.inputs.get(INPUT_IDS).map(Tensor::shape) else {
        return Ok(());
    };
    let shape = value.shape();
    let (is_fitting, expected) = match quantity {
        Quantity::Logits | Quantity::LogProbs => (
            shape.len() == 3 && shape[..2] == [batch, pos],
            format!("[{batch}, {pos}, vocabulary]"),
        ),
        Quantity::LossPerToken => {
            let pairs = pos.saturating_sub(1);
            (shape == [batch, pairs], format!("[{batch}, {pairs}]"))
        }
        Quantity::Loss => (value.len() == 1, "[]".to_owned()),
        Quantity::Generated | Quantity::Hook(_) | Quantity::HookGradient(_) => (
            shape.len() > 1 && shape[0] == batch,
            format!("[{batch}, ..]"),
        ),
        Quantity::ParameterGradient(_) | Quantity::Weight(_) => (true, String::new()),
    };
    if is_fitting {
        return Ok(());
    }
    Err(TraceError::Shape {
        quantity: quantity.to_string(),
        expected,
        input: [batch, pos],
        found: shape.to_vec(),
    })
}
