//! Linear maps.

use candle_core::{Result, Tensor};

use crate::arithmetic::Arithmetic;

/// `x W^T + b`.
pub(crate) struct Linear {
    /// `[out, in]`; often a transposed view of what is stored.
    pub(crate) weight: Tensor,
    /// `[out]`.
    pub(crate) bias: Option<Tensor>,
}

impl Linear {
    /// `[.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, x: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(1);
        let rows: usize = shape.iter().product();
        shape.push(self.weight.dim(0)?);
        let product = arithmetic.matmul(&x.reshape((rows, inputs))?, &self.weight.t()?)?;
        let sum = match &self.bias {
            Some(bias) => product.broadcast_add(bias)?,
            None => product,
        };
        sum.reshape(shape)
    }

    /// One input per head: `[batch, pos, heads, in]` to `[batch, pos, heads, out / heads]`, each head by its own rows
    /// of the weight.
    pub(crate) fn forward_per_head(&self, x: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        let (batch, pos, heads, inputs) = x.dims4()?;
        let width = self.weight.dim(0)? / heads;
        let x = x
            .reshape((batch * pos, heads, inputs))?
            .transpose(0, 1)?
            .contiguous()?;
        let weight = self
            .weight
            .contiguous()?
            .reshape((heads, width, inputs))?
            .transpose(1, 2)?
            .contiguous()?;
        let product = arithmetic
            .matmul(&x, &weight)?
            .transpose(0, 1)?
            .reshape((batch, pos, heads, width))?;
        match &self.bias {
            Some(bias) => product.broadcast_add(&bias.reshape((heads, width))?),
            None => Ok(product),
        }
    }

    /// What each head adds to the output, without the bias: `[batch, pos, heads, d_head]` to `[batch, pos, heads, out]`.
    pub(crate) fn result_per_head(&self, z: &Tensor, arithmetic: Arithmetic) -> Result<Tensor> {
        let (batch, pos, heads, d_head) = z.dims4()?;
        let outputs = self.weight.dim(0)?;
        let z = z
            .reshape((batch * pos, heads, d_head))?
            .transpose(0, 1)?
            .contiguous()?;
        let weight = self
            .weight
            .t()?
            .contiguous()?
            .reshape((heads, d_head, outputs))?;
        arithmetic
            .matmul(&z, &weight)?
            .transpose(0, 1)?
            .reshape((batch, pos, heads, outputs))
    }
}
