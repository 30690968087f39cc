//! Sums in place.

use candle_core::{CpuStorage, Error, InplaceOp2, InplaceOp3, Layout, Result};

/// Adds a contiguous operand to a view whose last dimension is contiguous.
pub(super) struct AddTo;

impl InplaceOp2 for AddTo {
    fn name(&self) -> &'static str {
        "add-to"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        sum_at: &Layout,
        terms: &CpuStorage,
        terms_at: &Layout,
    ) -> Result<()> {
        match (sum, terms) {
            (CpuStorage::F32(sum), CpuStorage::F32(terms)) => add_to(sum, sum_at, terms, terms_at),
            (CpuStorage::F64(sum), CpuStorage::F64(terms)) => add_to(sum, sum_at, terms, terms_at),
            _ => Err(Error::Msg(
                "a gradient that is neither f32 nor f64".to_owned(),
            )),
        }
    }
}

fn add_to<T: Copy + std::ops::AddAssign>(
    sum: &mut [T],
    sum_at: &Layout,
    terms: &[T],
    terms_at: &Layout,
) -> Result<()> {
    let terms = &terms[terms_at.start_offset()..];
    let (dims, strides) = (sum_at.dims(), sum_at.stride());
    let Some((&width, outer)) = dims.split_last() else {
        return Err(Error::Msg("a gradient without dimensions".to_owned()));
    };
    for (row, terms) in terms.chunks(width.max(1)).enumerate() {
        let (mut rest, mut start) = (row, sum_at.start_offset());
        for (dim, stride) in outer.iter().zip(strides).rev() {
            start += rest % dim * stride;
            rest /= dim;
        }
        for (sum, term) in sum[start..start + width].iter_mut().zip(terms) {
            *sum += *term;
        }
    }
    Ok(())
}

/// Adds rows to those of a table that the third operand names.
pub(super) struct AddRows;

impl InplaceOp3 for AddRows {
    fn name(&self) -> &'static str {
        "add-rows"
    }

    fn cpu_fwd(
        &self,
        table: &mut CpuStorage,
        table_at: &Layout,
        rows: &CpuStorage,
        _: &Layout,
        indices: &CpuStorage,
        _: &Layout,
    ) -> Result<()> {
        let width = table_at.dims().last().copied().unwrap_or(1);
        let CpuStorage::U32(indices) = indices else {
            return Err(Error::Msg("indices that are not u32".to_owned()));
        };
        match (table, rows) {
            (CpuStorage::F32(table), CpuStorage::F32(rows)) => {
                add_rows(table, rows, indices, width)
            }
            (CpuStorage::F64(table), CpuStorage::F64(rows)) => {
                add_rows(table, rows, indices, width)
            }
            _ => {
                return Err(Error::Msg(
                    "a gradient that is neither f32 nor f64".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

fn add_rows<T: Copy + std::ops::AddAssign>(
    table: &mut [T],
    rows: &[T],
    indices: &[u32],
    width: usize,
) {
    for (row, &index) in rows.chunks(width.max(1)).zip(indices) {
        for (sum, term) in table[index as usize * width..].iter_mut().zip(row) {
            *sum += *term;
        }
    }
}
