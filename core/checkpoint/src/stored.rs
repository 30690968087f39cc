//! A tensor as the safetensors crate writes it.

use std::borrow::Cow;

use safetensors::{Dtype, View};
use tlbench_sdk::{DType, Tensor};

/// A tensor on its way into safetensors bytes; cloning a [`Tensor`] shares its memory.
#[derive(Clone, Debug)]
pub struct StoredTensor(pub Tensor);

impl View for StoredTensor {
    fn dtype(&self) -> Dtype {
        match self.0.dtype() {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::I64 => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0.bytes())
    }

    fn data_len(&self) -> usize {
        self.0.bytes().len()
    }
}
