//! Linear maps.

use candle_core::{Result, Tensor};
use tlbench_sdk::spec::Cut;

use super::Run;
use crate::ops;
use crate::weights::Part;

/// `x W^T + b`.
pub(crate) struct Linear {
    /// `[out, in]`; often a transposed view of what is stored.
    pub(crate) weight: Part,
    /// `[out]`.
    pub(crate) bias: Option<Part>,
}

impl Linear {
    /// `[.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, run: &Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(1);
        let rows: usize = shape.iter().product();
        shape.push(self.weight.values.dim(0)?);
        let weight = self.weight.cut(&Cut::Transpose)?;
        let x = x.reshape((rows, inputs))?;
        let product = ops::product(&x, run.operand(&weight), run.arithmetic)?;
        self.shifted(run, &product)?.reshape(shape)
    }

    /// `x`, whose last dimension is that of the output, and the bias.
    pub(crate) fn shifted(&self, run: &Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|bias| run.operand(bias));
        ops::scale_and_shift(x, None, bias)
    }

    /// One input per head: `[batch, pos, heads, in]` to `[batch, pos, heads, out / heads]`, each head by its own rows
    /// of the weight.
    pub(crate) fn forward_per_head(&self, run: &Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let (batch, pos, heads, inputs) = x.dims4()?;
        let outputs = self.weight.values.dim(0)?;
        let width = outputs / heads;
        let x = x
            .reshape((batch * pos, heads, inputs))?
            .transpose(0, 1)?
            .contiguous()?;
        let weight = self
            .weight
            .cut(&Cut::Reshape {
                shape: vec![heads, width, inputs],
            })?
            .cut(&Cut::Transpose)?;
        let product = ops::product(&x, run.operand(&weight), run.arithmetic)?
            .transpose(0, 1)?
            .reshape((batch, pos, outputs))?;
        self.shifted(run, &product)?
            .reshape((batch, pos, heads, width))
    }

    /// What each head adds to the output, without the bias: `[batch, pos, heads, d_head]` to `[batch, pos, heads, out]`.
    pub(crate) fn result_per_head(&self, run: &Run<'_, '_>, z: &Tensor) -> Result<Tensor> {
        let (batch, pos, heads, d_head) = z.dims4()?;
        let outputs = self.weight.values.dim(0)?;
        let z = z
            .reshape((batch * pos, heads, d_head))?
            .transpose(0, 1)?
            .contiguous()?;
        let weight = self.weight.cut(&Cut::Transpose)?.cut(&Cut::Reshape {
            shape: vec![heads, d_head, outputs],
        })?;
        ops::product(&z, run.operand(&weight), run.arithmetic)?
            .transpose(0, 1)?
            .reshape((batch, pos, heads, outputs))
    }
}
