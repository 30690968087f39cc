//! Which checkpoint tensor a component takes, and how it is cut.

use serde::{Deserialize, Serialize};

use super::tap::HfTap;
use crate::tensor::{DType, Element, Tensor};

/// A checkpoint tensor, and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSource {
    /// Names under which the tensor may be stored; the first that is there is taken. A config alone cannot know a
    /// prefix or a tied head.
    pub names: Vec<String>,
    /// The shape of the stored tensor.
    pub shape: Vec<usize>,
    /// From the stored tensor to the one meant, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Cut>,
}

impl TensorSource {
    /// The whole of a tensor of `shape`, stored under one of `names`.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        shape: impl Into<Vec<usize>>,
    ) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            shape: shape.into(),
            cut: Vec::new(),
        }
    }

    /// Adds a step.
    #[must_use]
    pub fn cut(mut self, cut: Cut) -> Self {
        self.cut.push(cut);
        self
    }

    /// The shape after all steps.
    ///
    /// # Errors
    /// If a step does not fit the shape before it.
    pub fn cut_shape(&self) -> Result<Vec<usize>, CutError> {
        self.cut
            .iter()
            .try_fold(self.shape.clone(), |shape, cut| cut.shape(&shape))
    }
}

/// A linear map: `weight [out, in]`, `bias [out]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionSpec {
    /// Cut to `[out, in]`.
    pub weight: TensorSource,
    /// Cut to `[out]`.
    pub bias: Option<TensorSource>,
    /// Where HF shows the result, `[batch, pos, out]`.
    pub tap: Option<HfTap>,
}

/// One step of a cut. The enum is closed, and every step can be undone: an edited part is written back through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cut {
    /// Swaps the last two dimensions (Conv1D stores `[in, out]`).
    Transpose,
    /// `len` entries of dimension `dim` from `start` on (fused projections).
    Slice {
        /// The dimension.
        dim: usize,
        /// The first entry.
        start: usize,
        /// How many.
        len: usize,
    },
    /// The same elements under another shape.
    Reshape {
        /// The new shape.
        shape: Vec<usize>,
    },
    /// Dimension `i` of the result is dimension `dims[i]` of the source.
    Permute {
        /// A permutation of the dimensions.
        dims: Vec<usize>,
    },
    /// Adds constants, broadcast over the leading dimensions: one value, or one per entry of the last dimension.
    Add {
        /// The summands.
        values: Vec<f64>,
    },
}

/// A step that does not fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("cut {cut:?} does not fit shape {shape:?}")]
pub struct CutError {
    /// The step.
    pub cut: Cut,
    /// The shape before it.
    pub shape: Vec<usize>,
}

impl Cut {
    /// The shape after this step.
    ///
    /// # Errors
    /// If the step does not fit `shape`.
    pub fn shape(&self, shape: &[usize]) -> Result<Vec<usize>, CutError> {
        let misfit = || CutError {
            cut: self.clone(),
            shape: shape.to_vec(),
        };
        let mut after = shape.to_vec();
        match self {
            Self::Transpose => {
                let rank = shape.len();
                if rank < 2 {
                    return Err(misfit());
                }
                after.swap(rank - 2, rank - 1);
            }
            Self::Slice { dim, start, len } => {
                let size = *shape.get(*dim).ok_or_else(misfit)?;
                if start.checked_add(*len).is_none_or(|end| end > size) {
                    return Err(misfit());
                }
                after[*dim] = *len;
            }
            Self::Reshape { shape: new } => {
                if checked_product(new) != checked_product(shape)
                    || checked_product(shape).is_none()
                {
                    return Err(misfit());
                }
                after.clone_from(new);
            }
            Self::Permute { dims } => {
                let mut sorted = dims.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(0..shape.len()) {
                    return Err(misfit());
                }
                after = dims.iter().map(|&dim| shape[dim]).collect();
            }
            Self::Add { values } => {
                if values.len() != 1 && shape.last() != Some(&values.len()) {
                    return Err(misfit());
                }
            }
        }
        Ok(after)
    }

    /// The part of `whole` that is meant.
    ///
    /// # Errors
    /// If the step does not fit, or adds to integers.
    pub fn apply(&self, whole: &Tensor) -> Result<Tensor, CutError> {
        let shape = self.shape(whole.shape())?;
        match self {
            Self::Reshape { .. } => whole.reshaped(&shape).map_err(|_| self.misfit(whole)),
            Self::Add { values } => self.add(whole, values),
            Self::Transpose | Self::Slice { .. } | Self::Permute { .. } => {
                let places = self.places(whole.shape());
                gather(whole, &places, &shape).ok_or_else(|| self.misfit(whole))
            }
        }
    }

    /// `whole` with the part that this step means replaced by `part`.
    ///
    /// # Errors
    /// If the shapes or types do not fit.
    pub fn write_back(&self, whole: &Tensor, part: &Tensor) -> Result<Tensor, CutError> {
        if self.shape(whole.shape())? != part.shape() || whole.dtype() != part.dtype() {
            return Err(self.misfit(whole));
        }
        match self {
            Self::Reshape { .. } => part.reshaped(whole.shape()).map_err(|_| self.misfit(whole)),
            Self::Add { values } => {
                let negated: Vec<f64> = values.iter().map(|value| -value).collect();
                self.add(part, &negated)
            }
            Self::Transpose | Self::Slice { .. } | Self::Permute { .. } => {
                let places = self.places(whole.shape());
                scatter(whole, part, &places).ok_or_else(|| self.misfit(whole))
            }
        }
    }

    fn misfit(&self, tensor: &Tensor) -> CutError {
        CutError {
            cut: self.clone(),
            shape: tensor.shape().to_vec(),
        }
    }

    fn add(&self, tensor: &Tensor, values: &[f64]) -> Result<Tensor, CutError> {
        let summed = tensor
            .to_f64_vec()
            .into_iter()
            .enumerate()
            .map(|(i, v)| v + values[i % values.len()]);
        let shape = tensor.shape();
        match tensor.dtype() {
            DType::F64 => Tensor::from_vec(summed.collect::<Vec<_>>(), shape),
            DType::F32 => Tensor::from_vec(summed.map(|v| v as f32).collect::<Vec<_>>(), shape),
            DType::F16 => {
                Tensor::from_vec(summed.map(half::f16::from_f64).collect::<Vec<_>>(), shape)
            }
            DType::BF16 => {
                Tensor::from_vec(summed.map(half::bf16::from_f64).collect::<Vec<_>>(), shape)
            }
            DType::I64 => return Err(self.misfit(tensor)),
        }
        .map_err(|_| self.misfit(tensor))
    }

    /// Where the elements of the result are in a source of shape `shape`.
    fn places(&self, shape: &[usize]) -> Places {
        let rank = shape.len();
        let mut strides = vec![1; rank];
        for dim in (1..rank).rev() {
            strides[dim - 1] = strides[dim] * shape[dim];
        }
        let dims: Vec<usize> = match self {
            Self::Permute { dims } => dims.clone(),
            Self::Transpose => (0..rank - 2).chain([rank - 1, rank - 2]).collect(),
            Self::Slice { .. } | Self::Reshape { .. } | Self::Add { .. } => (0..rank).collect(),
        };
        let mut places = Places {
            first: 0,
            sizes: dims.iter().map(|&dim| shape[dim]).collect(),
            strides: dims.iter().map(|&dim| strides[dim]).collect(),
        };
        if let Self::Slice { dim, start, len } = self {
            places.first = start * strides[*dim];
            places.sizes[*dim] = *len;
        }
        places
    }
}

/// Elements of a tensor, by the dimensions in which they are walked through.
struct Places {
    first: usize,
    sizes: Vec<usize>,
    strides: Vec<usize>,
}

impl Places {
    /// Calls `visit` with the place of each element in order.
    fn walk(&self, mut visit: impl FnMut(usize)) {
        let Some((&run, outer)) = self.sizes.split_last() else {
            return visit(self.first);
        };
        let stride = self.strides[outer.len()];
        let mut index = vec![0; outer.len()];
        for _ in 0..outer.iter().product::<usize>() {
            let offsets = index.iter().zip(&self.strides);
            let start = self.first + offsets.map(|(i, stride)| i * stride).sum::<usize>();
            (0..run).for_each(|i| visit(start + i * stride));
            for (i, size) in index.iter_mut().zip(outer).rev() {
                *i += 1;
                if *i < *size {
                    break;
                }
                *i = 0;
            }
        }
    }
}

fn checked_product(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
}

macro_rules! by_dtype {
    ($tensor:expr, $function:ident($($argument:expr),*)) => {
        match $tensor.dtype() {
            DType::F64 => $function::<f64>($($argument),*),
            DType::F32 => $function::<f32>($($argument),*),
            DType::F16 => $function::<half::f16>($($argument),*),
            DType::BF16 => $function::<half::bf16>($($argument),*),
            DType::I64 => $function::<i64>($($argument),*),
        }
    };
}

fn gather(whole: &Tensor, places: &Places, shape: &[usize]) -> Option<Tensor> {
    fn typed<T: Element>(whole: &Tensor, places: &Places, shape: &[usize]) -> Option<Tensor> {
        let source = whole.as_slice::<T>()?;
        let mut values = Vec::with_capacity(shape.iter().product());
        places.walk(|place| values.push(source[place]));
        Tensor::from_vec(values, shape).ok()
    }
    by_dtype!(whole, typed(whole, places, shape))
}

fn scatter(whole: &Tensor, part: &Tensor, places: &Places) -> Option<Tensor> {
    fn typed<T: Element>(whole: &Tensor, part: &Tensor, places: &Places) -> Option<Tensor> {
        let mut values = whole.as_slice::<T>()?.to_vec();
        let mut part = part.as_slice::<T>()?.iter();
        places.walk(|place| {
            if let Some(&value) = part.next() {
                values[place] = value;
            }
        });
        Tensor::from_vec(values, whole.shape()).ok()
    }
    by_dtype!(whole, typed(whole, part, places))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counting(shape: &[usize]) -> Tensor {
        let values = (0..shape.iter().product::<usize>())
            .map(|i| i as f64)
            .collect();
        Tensor::from_vec(values, shape).unwrap()
    }

    #[test]
    fn the_query_part_of_a_fused_conv1d() {
        let source = TensorSource::new(["c_attn.weight"], [2, 6])
            .cut(Cut::Slice {
                dim: 1,
                start: 2,
                len: 2,
            })
            .cut(Cut::Transpose);
        assert_eq!(source.cut_shape().unwrap(), [2, 2]);
        let part = source
            .cut
            .iter()
            .try_fold(counting(&[2, 6]), |tensor, cut| cut.apply(&tensor))
            .unwrap();
        assert_eq!(part.to_f64_vec(), [2.0, 8.0, 3.0, 9.0]);
    }

    #[test]
    fn a_step_that_does_not_fit_says_so() {
        let error = Cut::Slice {
            dim: 1,
            start: 5,
            len: 4,
        }
        .shape(&[2, 6])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cut Slice { dim: 1, start: 5, len: 4 } does not fit shape [2, 6]"
        );
        assert!(
            Cut::Slice {
                dim: 0,
                start: usize::MAX,
                len: 2
            }
            .shape(&[3])
            .is_err()
        );
        assert!(Cut::Transpose.shape(&[3]).is_err());
        assert!(Cut::Permute { dims: vec![0, 0] }.shape(&[2, 2]).is_err());
        assert!(
            Cut::Reshape {
                shape: vec![usize::MAX, 2]
            }
            .shape(&[2, 2])
            .is_err()
        );
    }

    fn shape_and_cut() -> impl Strategy<Value = (Vec<usize>, Cut)> {
        prop::collection::vec(1_usize..5, 2..4).prop_flat_map(|shape| {
            let rank = shape.len();
            let elements: usize = shape.iter().product();
            let last = shape[rank - 1];
            let sizes = shape.clone();
            let slice = (0..rank).prop_flat_map(move |dim| {
                let size = sizes[dim];
                (0..size).prop_flat_map(move |start| {
                    (0..=size - start).prop_map(move |len| Cut::Slice { dim, start, len })
                })
            });
            let permute = Just((0..rank).collect::<Vec<_>>())
                .prop_shuffle()
                .prop_map(|dims| Cut::Permute { dims });
            let cut = prop_oneof![
                Just(Cut::Transpose),
                slice,
                permute,
                Just(Cut::Reshape {
                    shape: vec![elements, 1]
                }),
                prop::collection::vec((-8_i8..8).prop_map(f64::from), last)
                    .prop_map(|values| Cut::Add { values }),
            ];
            (Just(shape), cut)
        })
    }

    proptest! {
        #[test]
        fn the_shape_is_known_without_the_data((shape, cut) in shape_and_cut()) {
            let part = cut.apply(&counting(&shape)).unwrap();
            prop_assert_eq!(part.shape(), cut.shape(&shape).unwrap());
        }

        #[test]
        fn writing_back_what_was_cut_changes_nothing((shape, cut) in shape_and_cut()) {
            let whole = counting(&shape);
            let part = cut.apply(&whole).unwrap();
            prop_assert_eq!(cut.write_back(&whole, &part).unwrap(), whole);
        }

        #[test]
        fn what_was_written_back_is_cut_again((shape, cut) in shape_and_cut()) {
            let whole = counting(&shape);
            let part = cut.apply(&whole).unwrap();
            let edited = Tensor::from_vec(part.to_f64_vec().iter().map(|v| 3.0 - v).collect(), part.shape()).unwrap();
            let written = cut.write_back(&whole, &edited).unwrap();
            prop_assert_eq!(cut.apply(&written).unwrap(), edited);
        }
    }
}
