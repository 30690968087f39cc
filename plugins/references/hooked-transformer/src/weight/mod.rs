//! A weight: what the checkpoint has, and what processing makes of it.
//!
//! Processing multiplies rows of a matrix, and takes a mean off its rows or columns. So what was processed is kept as the
//! stored matrix and a few vectors, and is worked out where a run takes it: there is no second copy of the model.

mod values;

use std::ops::Range;
use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor};

use self::values::Values;

/// A matrix `[.., in, out]`, a table `[rows, width]`, or a vector. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    /// As it is stored, or was worked out.
    stored: Tensor,
    /// What is done to every element, one after the other, in f64.
    adjustments: Vec<Adjustment>,
}

/// One step, with one number for each row or column.
#[derive(Clone, Debug)]
struct Adjustment {
    operation: Operation,
    along: Along,
    /// For each matrix of a stack in turn.
    by: Arc<[f64]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Multiply,
    Subtract,
}

/// What there is one number for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Along {
    /// Each row: an input of a matrix, a token of a table.
    Rows,
    /// Each column.
    Columns,
}

impl From<Tensor> for Weight {
    fn from(stored: Tensor) -> Self {
        Self {
            stored,
            adjustments: Vec::new(),
        }
    }
}

impl Weight {
    pub(crate) fn dims(&self) -> &[usize] {
        self.stored.dims()
    }

    /// Whether a column lies in memory in one piece, and a row does not.
    pub(crate) fn is_transposed(&self) -> bool {
        let (dims, strides) = (self.stored.dims(), self.stored.stride());
        dims.len() > 1 && dims.last() > Some(&1) && strides.last() != Some(&1)
    }

    /// Each row or column times its number of `by`, which is one for all matrices of a stack, or has one for each.
    pub(crate) fn multiplied(self, along: Along, by: &Tensor) -> Result<Self> {
        self.adjusted(Operation::Multiply, along, by)
    }

    /// Each row or column less its number of `by`.
    pub(crate) fn lowered(self, along: Along, by: &Tensor) -> Result<Self> {
        self.adjusted(Operation::Subtract, along, by)
    }

    fn adjusted(mut self, operation: Operation, along: Along, by: &Tensor) -> Result<Self> {
        let mut shape = self.dims().to_vec();
        shape.remove(along.other().dimension(shape.len()));
        let by = by.to_dtype(DType::F64)?.broadcast_as(shape)?;
        self.adjustments.push(Adjustment {
            operation,
            along,
            by: by.flatten_all()?.to_vec1()?.into(),
        });
        Ok(self)
    }

    /// With rows for columns.
    pub(crate) fn t(&self) -> Result<Self> {
        let turned = |adjustment: &Adjustment| Adjustment {
            along: adjustment.along.other(),
            ..adjustment.clone()
        };
        Ok(Self {
            stored: self.stored.t()?,
            adjustments: self.adjustments.iter().map(turned).collect(),
        })
    }

    /// A stack of matrices as one, below each other.
    pub(crate) fn stacked(&self) -> Result<Self> {
        let differs_by_matrix = |adjustment: &Adjustment| adjustment.along == Along::Columns;
        if self.adjustments.iter().any(differs_by_matrix) {
            return Ok(self.in_dtype(DType::F64)?.flatten_to(D::Minus2)?.into());
        }
        Ok(Self {
            stored: self.stored.flatten_to(D::Minus2)?,
            adjustments: self.adjustments.clone(),
        })
    }

    /// The rows `indices` of a table.
    pub(crate) fn rows(&self, indices: &Tensor) -> Result<Self> {
        let chosen = indices.to_vec1::<u32>()?;
        let of_the_chosen = |adjustment: &Adjustment| Adjustment {
            by: match adjustment.along {
                Along::Rows => chosen.iter().map(|&i| adjustment.by[i as usize]).collect(),
                Along::Columns => adjustment.by.clone(),
            },
            ..adjustment.clone()
        };
        Ok(Self {
            stored: self.stored.contiguous()?.index_select(indices, 0)?,
            adjustments: self.adjustments.iter().map(of_the_chosen).collect(),
        })
    }

    /// Whether a run in `dtype` may take what is stored as it is.
    pub(crate) fn is_stored_in(&self, dtype: DType) -> bool {
        self.adjustments.is_empty() && self.stored.dtype() == dtype
    }

    /// All of it in `dtype`, in the order in which it lies in memory.
    pub(crate) fn in_dtype(&self, dtype: DType) -> Result<Tensor> {
        if self.is_stored_in(dtype) {
            return Ok(self.stored.clone());
        }
        match self.dims() {
            [.., _, columns] => self.columns(0..*columns, dtype),
            _ => self.stored.to_dtype(dtype),
        }
    }

    /// Some columns of a matrix in `dtype`, f32 or f64, in the order in which they lie in memory.
    pub(crate) fn columns(&self, columns: Range<usize>, dtype: DType) -> Result<Tensor> {
        if self.is_transposed() {
            return self.t()?.part(Along::Rows, columns, dtype)?.t();
        }
        self.part(Along::Columns, columns, dtype)
    }

    /// Some rows of a matrix that lies in memory row by row, in `dtype`, f32 or f64.
    pub(crate) fn some_rows(&self, rows: Range<usize>, dtype: DType) -> Result<Tensor> {
        self.part(Along::Rows, rows, dtype)
    }

    /// Some matrices of a stack `[matrix, in, out]`.
    pub(crate) fn matrices(&self, matrices: Range<usize>) -> Result<Self> {
        let all = self.dims()[0].max(1);
        let of_these = |adjustment: &Adjustment| {
            let of_each = adjustment.by.len() / all;
            let by = &adjustment.by[matrices.start * of_each..matrices.end * of_each];
            Adjustment {
                by: by.into(),
                ..*adjustment
            }
        };
        Ok(Self {
            stored: self.stored.narrow(0, matrices.start, matrices.len())?,
            adjustments: self.adjustments.iter().map(of_these).collect(),
        })
    }

    /// The rows or columns `range` of a matrix that lies in memory row by row.
    fn part(&self, along: Along, range: Range<usize>, dtype: DType) -> Result<Tensor> {
        let rank = self.dims().len();
        let part = self
            .stored
            .narrow(along.dimension(rank), range.start, range.len())?;
        let part = match part.stride().last() {
            Some(1) => part,
            _ => part.contiguous()?,
        };
        let values = Values {
            stored: &part,
            adjustments: &self.adjustments,
            first: match along {
                Along::Rows => [range.start, 0],
                Along::Columns => [0, range.start],
            },
            whole: [self.dims()[rank - 2], self.dims()[rank - 1]],
        };
        match dtype {
            DType::F32 => Tensor::from_vec(values.collect::<f32>()?, part.shape(), &Device::Cpu),
            _ => Tensor::from_vec(values.collect::<f64>()?, part.shape(), &Device::Cpu),
        }
    }
}

impl Along {
    /// Which of `rank` dimensions it counts.
    const fn dimension(self, rank: usize) -> usize {
        match self {
            Self::Rows => rank - 2,
            Self::Columns => rank - 1,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Rows => Self::Columns,
            Self::Columns => Self::Rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: (usize, usize, usize) = (2, 3, 4);

    fn noise(shape: impl Into<candle_core::Shape>) -> Tensor {
        Tensor::randn(0.0, 1.0, shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The matrices of a stack in memory row by row, column by column, and between other things.
    fn layouts(stack: &Tensor) -> [Tensor; 3] {
        let turned = stack.t().unwrap().contiguous().unwrap();
        let wider = Tensor::cat(&[stack, stack], 0).unwrap();
        [
            stack.clone(),
            turned.t().unwrap(),
            wider.narrow(0, SHAPE.0, SHAPE.0).unwrap(),
        ]
    }

    /// A stack whose rows are multiplied, and then lowered along both dimensions, and what that is written out.
    fn adjusted(stored: Tensor) -> (Weight, Tensor) {
        let (gain, rows, columns) = (noise(3), noise((2, 3)), noise((2, 4)));
        let exact = stored.to_dtype(DType::F64).unwrap();
        let expected = exact
            .broadcast_mul(&gain.unsqueeze(1).unwrap())
            .and_then(|weight| weight.broadcast_sub(&columns.unsqueeze(1)?))
            .and_then(|weight| weight.broadcast_sub(&rows.unsqueeze(2)?));
        let weight = Weight::from(stored)
            .multiplied(Along::Rows, &gain)
            .and_then(|weight| weight.lowered(Along::Columns, &columns))
            .and_then(|weight| weight.lowered(Along::Rows, &rows));
        (weight.unwrap(), expected.unwrap())
    }

    #[test]
    fn what_is_worked_out_where_it_is_taken_is_what_a_copy_would_hold() {
        for stored in layouts(&noise(SHAPE).to_dtype(DType::F32).unwrap()) {
            let (weight, expected) = adjusted(stored);
            assert_eq!(
                values(&weight.in_dtype(DType::F64).unwrap()),
                values(&expected)
            );
            let some = weight.columns(1..3, DType::F64).unwrap();
            let expected_of_some = expected.narrow(2, 1, 2).unwrap();
            assert_eq!(values(&some), values(&expected_of_some));
            for matrix in 0..SHAPE.0 {
                let one = weight.matrices(matrix..matrix + 1).unwrap();
                let expected = expected.narrow(0, matrix, 1).unwrap();
                assert_eq!(
                    values(&one.in_dtype(DType::F64).unwrap()),
                    values(&expected)
                );
            }
            let turned = weight.t().unwrap().in_dtype(DType::F64).unwrap();
            assert_eq!(values(&turned), values(&expected.t().unwrap()));
            let stacked = weight.stacked().unwrap().in_dtype(DType::F64).unwrap();
            assert_eq!(values(&stacked), values(&expected));
            assert_eq!(stacked.dims(), [6, 4]);
        }
    }

    #[test]
    fn rounding_is_once_and_at_the_end() {
        for stored in layouts(&noise(SHAPE).to_dtype(DType::BF16).unwrap()) {
            let (weight, expected) = adjusted(stored);
            let rounded = weight.in_dtype(DType::F32).unwrap();
            let expected = expected.to_dtype(DType::F32).unwrap();
            let [rounded, expected] =
                [rounded, expected].map(|one| one.to_dtype(DType::F64).unwrap());
            assert_eq!(values(&rounded), values(&expected));
        }
    }

    #[test]
    fn rows_of_a_table_keep_what_is_done_to_them() {
        let (table, lowered) = (noise((5, 3)), noise(5));
        let weight = Weight::from(table.clone()).lowered(Along::Rows, &lowered);
        let indices = Tensor::new(&[4_u32, 0, 4], &Device::Cpu).unwrap();
        let rows = weight.unwrap().rows(&indices).unwrap();
        let expected = table
            .broadcast_sub(&lowered.unsqueeze(1).unwrap())
            .and_then(|table| table.index_select(&indices, 0));
        let found = rows.in_dtype(DType::F64).unwrap();
        assert_eq!(values(&found), values(&expected.unwrap()));
    }
}
