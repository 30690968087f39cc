//! Between the SDK's tensors and candle's.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor as CandleTensor};
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

/// The same of a tensor that nobody reads again. Where its elements are all that it shares memory with, in row-major order,
/// they are moved: the gradient of an embedding takes as much memory as several layers.
pub(crate) fn moved(tensor: &CandleTensor) -> Result<Tensor, EngineError> {
    let whole = Some((0, tensor.elem_count()));
    if tensor.layout().contiguous_offsets() != whole {
        return from_candle(tensor);
    }
    let taken = Taken::default();
    tensor.inplace_op1(&taken)?;
    let shape = tensor.dims();
    let moved = match taken.0.into_inner() {
        Ok(Some(CpuStorage::F32(values))) => Tensor::from_vec(values, shape),
        Ok(Some(CpuStorage::F64(values))) => Tensor::from_vec(values, shape),
        _ => return from_candle(tensor),
    };
    moved.map_err(|error| EngineError::Candle(candle_core::Error::Msg(error.to_string())))
}

/// The elements that were taken out of a tensor.
#[derive(Default)]
struct Taken(Mutex<Option<CpuStorage>>);

impl InplaceOp1 for Taken {
    fn name(&self) -> &'static str {
        "take"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let count = layout.shape().elem_count();
        let empty = match storage {
            CpuStorage::F32(values) if values.len() == count => CpuStorage::F32(Vec::new()),
            CpuStorage::F64(values) if values.len() == count => CpuStorage::F64(Vec::new()),
            _ => return Ok(()),
        };
        let values = std::mem::replace(storage, empty);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
        Ok(())
    }
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
    #[test]
    fn what_is_moved_is_what_a_copy_would_be() {
        let views: [fn(CandleTensor) -> candle_core::Result<CandleTensor>; 5] = [
            Ok,
            |matrix| matrix.to_dtype(candle_core::DType::BF16),
            |matrix| matrix.t(),
            |matrix| matrix.narrow(0, 1, 2),
            |matrix| matrix.narrow(0, 0, 2),
        ];
        for view in views {
            let numbers = CandleTensor::arange(0.0, 12.0, &Device::Cpu).unwrap();
            let part = view(numbers.reshape((3, 4)).unwrap()).unwrap();
            let copy = from_candle(&part).unwrap();
            assert_eq!(moved(&part).unwrap(), copy);
        }
    }
}
