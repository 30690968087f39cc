//! Where differentiation ends.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::Sink;
use crate::ops;

/// Its first operand, which candle then takes to depend on the second.
pub(super) struct Leaf {
    /// Where the gradient goes, if the values are rows of a parameter, and which rows.
    pub(super) table: Option<(Sink, Tensor)>,
}

impl CustomOp2 for Leaf {
    fn name(&self) -> &'static str {
        "leaf"
    }

    fn cpu_fwd(
        &self,
        values: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        ops::copied(values, layout)
    }

    fn bwd(
        &self,
        _: &Tensor,
        anchor: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        if let Some((sink, rows)) = &self.table {
            sink.add_rows(rows, grad)?;
        }
        Ok((None, Some(anchor.zeros_like()?)))
    }
}
