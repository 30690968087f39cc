//! Plain, read-only CPU tensors: what crosses between models, references, benchmarks and files.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::abi::ForeignBytes;

/// Tensors by name.
pub type TensorMap = BTreeMap<String, Tensor>;

/// `whole` in parts that are small enough to widen one after the other.
pub(crate) fn parts(whole: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    const PART: usize = 1 << 14;
    let end = whole.end;
    whole
        .step_by(PART)
        .map(move |start| start..end.min(start + PART))
}

/// The element type of a [`Tensor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// Signed 64-bit integers: token ids, positions, masks.
    I64,
}

impl DType {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// The relative error of a value that was rounded once: half a unit in the last place. Integers have none.
    pub const fn roundoff(self) -> f64 {
        // 2 to the minus number of bits in the significand, the hidden one included.
        let bits = match self {
            Self::F64 => 53,
            Self::F32 => 24,
            Self::F16 => 11,
            Self::BF16 => 8,
            Self::I64 => return 0.0,
        };
        1.0 / (1_u64 << bits) as f64
    }

    /// Whether it holds less than f32 does, which hides faults that f32 would show.
    pub const fn is_narrow(self) -> bool {
        matches!(self, Self::F16 | Self::BF16)
    }

    /// The name used in configs and reports: `f32`, `bf16`, ...
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A shape that does not describe the data it was given with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shape {shape:?} does not describe {elements} elements")]
pub struct ShapeError {
    /// The shape as given.
    pub shape: Vec<usize>,
    /// The number of elements there are.
    pub elements: usize,
}

#[derive(Debug)]
enum Data {
    F64(Vec<f64>),
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    I64(Vec<i64>),
    /// Memory that another library owns and frees.
    Foreign(DType, ForeignBytes),
}

/// A type that a [`Tensor`] can hold.
pub trait Element: bytemuck::Pod + Send + Sync + sealed::IntoData {
    /// Its name at run time.
    const DTYPE: DType;
}

mod sealed {
    use super::Data;

    pub trait IntoData: Sized {
        #[expect(private_interfaces, reason = "nobody outside can call it")]
        fn into_data(values: Vec<Self>) -> Data;
    }
}

macro_rules! elements {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl Element for $rust {
            const DTYPE: DType = DType::$variant;
        }

        impl sealed::IntoData for $rust {
            #[expect(private_interfaces, reason = "nobody outside can call it")]
            fn into_data(values: Vec<Self>) -> Data {
                Data::$variant(values)
            }
        }
    )*};
}

elements!(f64 => F64, f32 => F32, f16 => F16, bf16 => BF16, i64 => I64);

/// A contiguous, row-major, immutable tensor; cloning shares the memory.
#[derive(Clone, Debug)]
pub struct Tensor {
    shape: Arc<[usize]>,
    data: Arc<Data>,
}

impl Tensor {
    /// Takes `values` in row-major order.
    ///
    /// # Errors
    /// If the product of `shape` is not the number of values, or overflows.
    pub fn from_vec<T: Element>(values: Vec<T>, shape: &[usize]) -> Result<Self, ShapeError> {
        check_shape(shape, values.len())?;
        Ok(Self {
            shape: shape.into(),
            data: Arc::new(T::into_data(values)),
        })
    }

    /// A tensor of no dimensions.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self {
            shape: Arc::from([]),
            data: Arc::new(T::into_data(vec![value])),
        }
    }

    /// A vector.
    pub fn vector<T: Element>(values: Vec<T>) -> Self {
        Self {
            shape: Arc::from([values.len()]),
            data: Arc::new(T::into_data(values)),
        }
    }

    /// Adopts memory of another library; copies where it is not aligned for its type.
    pub(crate) fn from_foreign(
        dtype: DType,
        shape: &[usize],
        bytes: ForeignBytes,
    ) -> Result<Self, ShapeError> {
        check_shape(shape, bytes.as_slice().len() / dtype.size())?;
        let data = if bytes
            .as_slice()
            .as_ptr()
            .addr()
            .is_multiple_of(dtype.size())
        {
            Data::Foreign(dtype, bytes)
        } else {
            copy_unaligned(dtype, bytes.as_slice())
        };
        Ok(Self {
            shape: shape.into(),
            data: Arc::new(data),
        })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match *self.data {
            Data::F64(_) => DType::F64,
            Data::F32(_) => DType::F32,
            Data::F16(_) => DType::F16,
            Data::BF16(_) => DType::BF16,
            Data::I64(_) => DType::I64,
            Data::Foreign(dtype, _) => dtype,
        }
    }

    /// The size of each dimension, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element (a dimension is 0).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        match &*self.data {
            Data::F64(values) => bytemuck::cast_slice(values),
            Data::F32(values) => bytemuck::cast_slice(values),
            Data::F16(values) => bytemuck::cast_slice(values),
            Data::BF16(values) => bytemuck::cast_slice(values),
            Data::I64(values) => bytemuck::cast_slice(values),
            Data::Foreign(_, bytes) => bytes.as_slice(),
        }
    }

    /// The elements, if `T` is their type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        (self.dtype() == T::DTYPE).then(|| typed(self.bytes()))
    }

    /// The elements widened to f64; exact for every float type.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        self.f64_part(0..self.len())
    }

    /// Those of a part in row-major order.
    ///
    /// # Panics
    /// If the part reaches past the end.
    pub fn f64_part(&self, part: Range<usize>) -> Vec<f64> {
        let size = self.dtype().size();
        let bytes = &self.bytes()[part.start * size..part.end * size];
        match self.dtype() {
            DType::F64 => typed::<f64>(bytes).to_vec(),
            DType::F32 => typed::<f32>(bytes).iter().map(|&v| f64::from(v)).collect(),
            DType::F16 => typed::<f16>(bytes).iter().map(|v| v.to_f64()).collect(),
            DType::BF16 => typed::<bf16>(bytes).iter().map(|v| v.to_f64()).collect(),
            DType::I64 => typed::<i64>(bytes).iter().map(|&v| v as f64).collect(),
        }
    }

    /// How many elements are NaN or infinite.
    pub fn count_not_finite(&self) -> usize {
        let in_part = |part| {
            let values = self.f64_part(part);
            values.iter().filter(|value| !value.is_finite()).count()
        };
        parts(0..self.len()).map(in_part).sum()
    }

    /// A copy of entry `row` of the first dimension, which is 1 then; `None` if there is none.
    pub fn row(&self, row: usize) -> Option<Self> {
        fn copied<T: Element>(tensor: &Tensor, from: usize, len: usize) -> Option<Vec<T>> {
            Some(tensor.as_slice::<T>()?[from..from + len].to_vec())
        }
        let (&rows, rest) = self.shape.split_first()?;
        if row >= rows {
            return None;
        }
        let len: usize = rest.iter().product();
        let from = row * len;
        let shape: Vec<usize> = std::iter::once(1).chain(rest.iter().copied()).collect();
        match self.dtype() {
            DType::F64 => Self::from_vec(copied::<f64>(self, from, len)?, &shape),
            DType::F32 => Self::from_vec(copied::<f32>(self, from, len)?, &shape),
            DType::F16 => Self::from_vec(copied::<f16>(self, from, len)?, &shape),
            DType::BF16 => Self::from_vec(copied::<bf16>(self, from, len)?, &shape),
            DType::I64 => Self::from_vec(copied::<i64>(self, from, len)?, &shape),
        }
        .ok()
    }

    /// The same elements under another shape; shares the memory.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self, ShapeError> {
        check_shape(shape, self.len())?;
        Ok(Self {
            shape: shape.into(),
            data: Arc::clone(&self.data),
        })
    }
}

/// Bit for bit: a NaN equals the same NaN, and 0 differs from -0.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dtype() == other.dtype() && self.shape == other.shape && self.bytes() == other.bytes()
    }
}

fn check_shape(shape: &[usize], elements: usize) -> Result<(), ShapeError> {
    let product = shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    if product == Some(elements) {
        Ok(())
    } else {
        Err(ShapeError {
            shape: shape.to_vec(),
            elements,
        })
    }
}

/// The bytes of a tensor as its elements; no elements have no alignment to keep.
fn typed<T: Element>(bytes: &[u8]) -> &[T] {
    if bytes.is_empty() {
        &[]
    } else {
        bytemuck::cast_slice(bytes)
    }
}

fn copy_unaligned(dtype: DType, bytes: &[u8]) -> Data {
    match dtype {
        DType::F64 => Data::F64(bytemuck::pod_collect_to_vec(bytes)),
        DType::F32 => Data::F32(bytemuck::pod_collect_to_vec(bytes)),
        DType::F16 => Data::F16(bytemuck::pod_collect_to_vec(bytes)),
        DType::BF16 => Data::BF16(bytemuck::pod_collect_to_vec(bytes)),
        DType::I64 => Data::I64(bytemuck::pod_collect_to_vec(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_to_describe_the_data() {
        assert!(Tensor::from_vec(vec![1.0_f32; 6], &[2, 3]).is_ok());
        let error = Tensor::from_vec(vec![1.0_f32; 6], &[2, 4]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "shape [2, 4] does not describe 6 elements"
        );
        assert!(Tensor::from_vec::<f32>(vec![], &[usize::MAX, 2]).is_err());
    }

    #[test]
    fn empty_and_zero_dimensional_tensors_exist() {
        let empty = Tensor::from_vec::<f64>(vec![], &[0, 7]).unwrap();
        assert!(empty.is_empty());
        assert_eq!(Tensor::scalar(2_i64).shape(), &[] as &[usize]);
        assert_eq!(Tensor::scalar(2_i64).len(), 1);
    }

    #[test]
    fn equality_is_bitwise() {
        assert_eq!(Tensor::scalar(f32::NAN), Tensor::scalar(f32::NAN));
        assert_ne!(Tensor::scalar(0.0_f32), Tensor::scalar(-0.0_f32));
    }

    #[test]
    fn low_precision_widens_exactly() {
        let values = vec![bf16::from_f32(1.0 / 3.0), bf16::INFINITY];
        let expected: Vec<f64> = values.iter().map(|v| v.to_f64()).collect();
        assert_eq!(Tensor::vector(values).to_f64_vec(), expected);
    }
}
