//! What values are computed in, and what they are rounded to where they are stored.

use candle_core::{DType as CandleDType, Result, Tensor};
use half::{bf16, f16};
use tlbench_sdk::DType;

use crate::error::EngineError;
use crate::ops;

/// The precision of a run.
///
/// In bf16 and f16, what is one operation in torch computes in f32 and rounds once, at its output. candle's own
/// operations in these types round after every primitive instead, and would come out worse than HuggingFace's. So
/// values are kept in f32 here, and rounded to what the narrow type holds wherever torch would store one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Double,
    Single,
    Bf16,
    F16,
}

impl Precision {
    pub(crate) fn new(dtype: DType) -> std::result::Result<Self, EngineError> {
        match dtype {
            DType::F64 => Ok(Self::Double),
            DType::F32 => Ok(Self::Single),
            DType::BF16 => Ok(Self::Bf16),
            DType::F16 => Ok(Self::F16),
            DType::I64 => Err(EngineError::Unanswerable(format!("a run in {dtype}"))),
        }
    }

    pub(crate) const fn dtype(self) -> DType {
        match self {
            Self::Double => DType::F64,
            Self::Single => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// The element type of all tensors.
    pub(crate) const fn computed(self) -> CandleDType {
        match self {
            Self::Double => CandleDType::F64,
            Self::Single | Self::Bf16 | Self::F16 => CandleDType::F32,
        }
    }

    /// `exact`, of f64, as it would be stored.
    pub(crate) fn rounded(self, exact: &Tensor) -> Result<Tensor> {
        self.store(exact.to_dtype(self.computed())?)
    }

    /// `value` as a number of this type. torch keeps a number in f32 before it is one of a narrower type.
    pub(crate) fn nearest(self, value: f64) -> f64 {
        let single = value as f32;
        match self {
            Self::Double => value,
            Self::Single => single.into(),
            Self::Bf16 => bf16::from_f32(single).into(),
            Self::F16 => f16::from_f32(single).into(),
        }
    }

    /// `value` as it would be stored.
    pub(crate) fn store(self, value: Tensor) -> Result<Tensor> {
        match self {
            Self::Double | Self::Single => Ok(value),
            Self::Bf16 => ops::round(&value, ops::Narrow::Bf16),
            Self::F16 => ops::round(&value, ops::Narrow::F16),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn narrow_values_are_the_nearest_ones_with_ties_to_even() {
        let values = [
            1.0 + 2.0_f32.powi(-9),
            1.0 + 2.0_f32.powi(-8),
            70_000.0,
            -0.1,
        ];
        let value = Tensor::from_slice(&values, 4, &Device::Cpu).unwrap();
        let stored = |precision: Precision| {
            let stored = precision.store(value.clone()).unwrap();
            stored.to_vec1::<f32>().unwrap()
        };
        // As `torch.tensor(values).to(torch.bfloat16).float()` has them, and for f16 alike.
        assert_eq!(
            stored(Precision::Bf16),
            [1.0, 1.0, 70_144.0, -0.100_097_656]
        );
        assert_eq!(
            stored(Precision::F16),
            [values[0], values[1], f32::INFINITY, -0.099_975_586]
        );
        assert_eq!(stored(Precision::Single), values);
    }
}
