//! Between the SDK's tensors and candle's.

use candle_core::{DType as CandleDType, Device, Tensor as CandleTensor};
use half::{bf16, f16};
use tlbench_sdk::{DType, Tensor};

use crate::error::EngineError;

/// A copy of `tensor` for candle, in its own element type.
pub(crate) fn to_candle(tensor: &Tensor) -> Result<CandleTensor, EngineError> {
    fn copied<T: tlbench_sdk::Element + candle_core::WithDType>(
        tensor: &Tensor,
    ) -> candle_core::Result<CandleTensor> {
        let values = tensor.as_slice::<T>().unwrap_or_default().to_vec();
        CandleTensor::from_vec(values, tensor.shape(), &Device::Cpu)
    }
    Ok(match tensor.dtype() {
        DType::F64 => copied::<f64>(tensor)?,
        DType::F32 => copied::<f32>(tensor)?,
        DType::F16 => copied::<f16>(tensor)?,
        DType::BF16 => copied::<bf16>(tensor)?,
        DType::I64 => copied::<i64>(tensor)?,
    })
}

/// A copy of `tensor` for everybody else.
pub(crate) fn from_candle(tensor: &CandleTensor) -> Result<Tensor, EngineError> {
    let shape = tensor.dims();
    let flat = tensor.flatten_all()?;
    let tensor = match tensor.dtype() {
        CandleDType::F64 => Tensor::from_vec(flat.to_vec1::<f64>()?, shape),
        CandleDType::F32 => Tensor::from_vec(flat.to_vec1::<f32>()?, shape),
        CandleDType::F16 => Tensor::from_vec(flat.to_vec1::<f16>()?, shape),
        CandleDType::BF16 => Tensor::from_vec(flat.to_vec1::<bf16>()?, shape),
        CandleDType::I64 => Tensor::from_vec(flat.to_vec1::<i64>()?, shape),
        other => {
            return Err(EngineError::Unanswerable(format!(
                "a value of type {other:?}"
            )));
        }
    };
    tensor.map_err(|error| EngineError::Candle(candle_core::Error::Msg(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_also_through_a_transposed_view() {
        let tensor = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        let candle = to_candle(&tensor).unwrap();
        assert_eq!(from_candle(&candle).unwrap(), tensor);
        let transposed = from_candle(&candle.t().unwrap()).unwrap();
        assert_eq!(
            transposed.as_slice::<f32>().unwrap(),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
    }
}
