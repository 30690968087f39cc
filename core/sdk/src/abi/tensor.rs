//! Tensors across the boundary, in DLPack's shape: the producer owns the memory and frees it.

use std::ffi::c_void;
use std::ptr;

use abi_stable::StableAbi;

use crate::error::PluginError;
use crate::tensor::{DType, Tensor};

/// `DLManagedTensorVersioned` (dlpack.h): version and deleter stand first, so that a consumer that does not know the
/// version can still free it. Always on the CPU, contiguous and read-only.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct FfiTensor {
    version: FfiVersion,
    manager_ctx: *mut c_void,
    deleter: extern "C" fn(*mut c_void),
    flags: u64,
    data: *const c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    dtype: FfiDType,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq)]
struct FfiVersion {
    major: u32,
    minor: u32,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Debug)]
struct FfiDType {
    code: u8,
    bits: u8,
    lanes: u16,
}

const VERSION: FfiVersion = FfiVersion { major: 1, minor: 1 };
const READ_ONLY: u64 = 1;
const CPU: i32 = 1;
const INT: u8 = 0;
const FLOAT: u8 = 2;
const BFLOAT: u8 = 4;

impl FfiDType {
    fn of(dtype: DType) -> Self {
        let (code, bits) = match dtype {
            DType::F64 => (FLOAT, 64),
            DType::F32 => (FLOAT, 32),
            DType::F16 => (FLOAT, 16),
            DType::BF16 => (BFLOAT, 16),
            DType::I64 => (INT, 64),
        };
        Self {
            code,
            bits,
            lanes: 1,
        }
    }

    fn to_dtype(self) -> Option<DType> {
        let all = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64];
        all.into_iter().find(|&dtype| Self::of(dtype) == self)
    }
}

/// What keeps an exported tensor alive.
struct Exported {
    tensor: Tensor,
    shape: Vec<i64>,
}

extern "C" fn free_exported(context: *mut c_void) {
    // SAFETY: `context` came from `Box::into_raw` in `FfiTensor::export`, and `Drop` calls this once.
    drop(unsafe { Box::from_raw(context.cast::<Exported>()) });
}

impl FfiTensor {
    pub(crate) fn export(tensor: &Tensor) -> Self {
        let shape = tensor.shape().iter().map(|&size| size as i64).collect();
        let exported = Box::new(Exported {
            tensor: tensor.clone(),
            shape,
        });
        let (data, ndim) = (
            exported.tensor.bytes().as_ptr().cast(),
            exported.shape.len() as i32,
        );
        let (shape, dtype) = (exported.shape.as_ptr(), FfiDType::of(tensor.dtype()));
        Self {
            version: VERSION,
            manager_ctx: Box::into_raw(exported).cast(),
            deleter: free_exported,
            flags: READ_ONLY,
            data,
            device_type: CPU,
            device_id: 0,
            ndim,
            dtype,
            shape,
            strides: ptr::null(),
            byte_offset: 0,
        }
    }

    pub(crate) fn import(self) -> Result<Tensor, PluginError> {
        if self.version.major != VERSION.major {
            return Err(PluginError::invalid_input(format!(
                "a tensor of DLPack version {}",
                self.version.major
            )));
        }
        if self.device_type != CPU || !self.strides.is_null() || self.byte_offset != 0 {
            return Err(PluginError::invalid_input(
                "a tensor that is not contiguous on the CPU",
            ));
        }
        let dtype = self.dtype.to_dtype().ok_or_else(|| {
            PluginError::invalid_input(format!("a tensor of element type {:?}", self.dtype))
        })?;
        let shape = self.shape()?;
        let elements = shape
            .iter()
            .try_fold(dtype.size(), |bytes, &size| bytes.checked_mul(size))
            .ok_or_else(|| PluginError::invalid_input(format!("a tensor of shape {shape:?}")))?;
        Ok(Tensor::from_foreign(
            dtype,
            &shape,
            ForeignBytes {
                tensor: self,
                len: elements,
            },
        )?)
    }

    fn shape(&self) -> Result<Vec<usize>, PluginError> {
        let ndim = usize::try_from(self.ndim).unwrap_or(0);
        let sizes: &[i64] = if ndim == 0 {
            &[]
        } else {
            // SAFETY: the producer guarantees `ndim` sizes behind `shape` for as long as the tensor lives.
            unsafe { std::slice::from_raw_parts(self.shape, ndim) }
        };
        sizes
            .iter()
            .map(|&size| usize::try_from(size))
            .collect::<Result<_, _>>()
            .map_err(|_| PluginError::invalid_input(format!("a tensor of shape {sizes:?}")))
    }
}

impl Drop for FfiTensor {
    fn drop(&mut self) {
        (self.deleter)(self.manager_ctx);
    }
}

/// The bytes of a tensor that another library owns.
pub(crate) struct ForeignBytes {
    tensor: FfiTensor,
    len: usize,
}

impl ForeignBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.len == 0 || self.tensor.data.is_null() {
            return &[];
        }
        // SAFETY: the producer guarantees that many bytes behind `data`, unchanged for as long as the tensor lives.
        unsafe { std::slice::from_raw_parts(self.tensor.data.cast(), self.len) }
    }
}

impl std::fmt::Debug for ForeignBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} foreign bytes", self.len)
    }
}

// SAFETY: the memory is read-only, and what owns it is an `Arc` of immutable data that may be freed on any thread.
unsafe impl Send for FfiTensor {}
// SAFETY: as above.
unsafe impl Sync for FfiTensor {}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;

    fn round_trip(tensor: &Tensor) -> Tensor {
        FfiTensor::export(tensor).import().unwrap()
    }

    #[test]
    fn nan_infinity_empty_and_zero_dimensional() {
        for tensor in [
            Tensor::vector(vec![f32::NAN, f32::INFINITY, -0.0]),
            Tensor::from_vec::<f64>(vec![], &[3, 0]).unwrap(),
            Tensor::scalar(f64::NEG_INFINITY),
            Tensor::scalar(i64::MIN),
            Tensor::vector(vec![f16::MIN_POSITIVE_SUBNORMAL]),
        ] {
            let back = round_trip(&tensor);
            assert_eq!(back, tensor);
            assert_eq!(back.dtype(), tensor.dtype());
        }
    }

    #[test]
    fn the_memory_is_shared_and_outlives_the_producers_handle() {
        let tensor = Tensor::vector(vec![1.0_f32, 2.0]);
        let back = round_trip(&tensor);
        assert_eq!(back.bytes().as_ptr(), tensor.bytes().as_ptr());
        drop(tensor);
        assert_eq!(back.as_slice::<f32>().unwrap(), [1.0, 2.0]);
    }

    proptest! {
        #[test]
        fn every_bf16_pattern_survives(bits in prop::collection::vec(any::<u16>(), 0..40)) {
            let tensor = Tensor::vector(bits.into_iter().map(bf16::from_bits).collect());
            prop_assert_eq!(round_trip(&round_trip(&tensor)), tensor);
        }
    }
}
