//! Between the SDK's tensors and candle's.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// The values of `tensor` in `dtype`, which is f32 or f64.
pub(crate) fn to_candle(tensor: &tlbench_sdk::Tensor, dtype: DType) -> Result<Tensor> {
    let values = Tensor::from_vec(tensor.to_f64_vec(), tensor.shape(), &Device::Cpu)?;
    Ok(values.to_dtype(dtype)?)
}

/// The values of an f32 or f64 tensor, in its own precision.
pub(crate) fn from_candle(tensor: &Tensor) -> Result<tlbench_sdk::Tensor> {
    let flat = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        DType::F32 => tlbench_sdk::Tensor::from_vec(flat.to_vec1::<f32>()?, tensor.dims())?,
        _ => tlbench_sdk::Tensor::from_vec(to_f64(&flat)?, tensor.dims())?,
    })
}

/// The values in row-major order.
pub(crate) fn to_f64(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
