//! Between the SDK's tensors and candle's.

use candle_core::{CpuStorage, Device, Storage, Tensor as CandleTensor};
use half::{bf16, f16};
use tlbench_sdk::{DType, Tensor};

use crate::error::EngineError;
use crate::in_order::in_order;

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
    let (storage, layout) = tensor.storage_and_layout();
    let copy = match &*storage {
        Storage::Cpu(CpuStorage::F64(values)) => Tensor::from_vec(in_order(values, layout), shape),
        Storage::Cpu(CpuStorage::F32(values)) => Tensor::from_vec(in_order(values, layout), shape),
        Storage::Cpu(CpuStorage::F16(values)) => Tensor::from_vec(in_order(values, layout), shape),
        Storage::Cpu(CpuStorage::BF16(values)) => Tensor::from_vec(in_order(values, layout), shape),
        Storage::Cpu(CpuStorage::I64(values)) => Tensor::from_vec(in_order(values, layout), shape),
        _ => {
            let what = format!("a value of type {:?}", tensor.dtype());
            return Err(EngineError::Unanswerable(what));
        }
    };
    copy.map_err(|error| EngineError::Candle(candle_core::Error::Msg(error.to_string())))
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
