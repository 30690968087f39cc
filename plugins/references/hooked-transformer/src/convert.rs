//! Between the SDK's tensors and candle's.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Tensor};
use tlbench_sdk::Element;

use crate::error::Result;

/// The values of `tensor` in `dtype`, which is f32 or f64.
pub(crate) fn to_candle(tensor: &tlbench_sdk::Tensor, dtype: DType) -> Result<Tensor> {
    let values = Tensor::from_vec(tensor.to_f64_vec(), tensor.shape(), &Device::Cpu)?;
    Ok(values.to_dtype(dtype)?)
}

/// The values of an f32 or f64 tensor, in its own precision. They are copied once, whatever their order in memory: those of
/// the gradient of an embedding take as much as several layers.
pub(crate) fn from_candle(tensor: &Tensor) -> Result<tlbench_sdk::Tensor> {
    moved(&tensor.force_contiguous()?)
}

/// The same of a tensor that nobody reads again: its values are moved where they lie in row-major order.
pub(crate) fn moved(tensor: &Tensor) -> Result<tlbench_sdk::Tensor> {
    let count = tensor.elem_count();
    if tensor.layout().contiguous_offsets() != Some((0, count)) {
        return from_candle(tensor);
    }
    let taken = Taken::default();
    tensor.inplace_op1(&taken)?;
    let taken = taken.0.into_inner();
    match taken.unwrap_or_else(PoisonError::into_inner) {
        Some(CpuStorage::F32(values)) => first(values, count, tensor.dims()),
        Some(CpuStorage::F64(values)) => first(values, count, tensor.dims()),
        _ => Ok(tlbench_sdk::Tensor::from_vec(
            to_f64(tensor)?,
            tensor.dims(),
        )?),
    }
}

fn first<T: Element>(
    mut values: Vec<T>,
    count: usize,
    dims: &[usize],
) -> Result<tlbench_sdk::Tensor> {
    values.truncate(count);
    Ok(tlbench_sdk::Tensor::from_vec(values, dims)?)
}

/// What was taken out of a tensor.
#[derive(Default)]
struct Taken(Mutex<Option<CpuStorage>>);

impl InplaceOp1 for Taken {
    fn name(&self) -> &'static str {
        "take"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        let empty = match storage {
            CpuStorage::F32(_) => CpuStorage::F32(Vec::new()),
            CpuStorage::F64(_) => CpuStorage::F64(Vec::new()),
            _ => return Ok(()),
        };
        let values = std::mem::replace(storage, empty);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
        Ok(())
    }
}

/// The values in row-major order.
pub(crate) fn to_f64(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_is_what_a_copy_would_be() {
        let views: [fn(Tensor) -> candle_core::Result<Tensor>; 5] = [
            Ok,
            |matrix| matrix.to_dtype(DType::F32),
            |matrix| matrix.t(),
            |matrix| matrix.narrow(0, 1, 2),
            |matrix| matrix.narrow(0, 0, 2),
        ];
        for view in views {
            let numbers = Tensor::arange(0.0, 12.0, &Device::Cpu).unwrap();
            let part = view(numbers.reshape((3, 4)).unwrap()).unwrap();
            let copy = from_candle(&part).unwrap();
            assert_eq!(moved(&part).unwrap(), copy);
        }
    }
}
