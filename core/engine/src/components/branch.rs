//! How a branch reads from the stream, and how it writes to it.

use candle_core::Tensor;
use tlbench_sdk::spec::{Branch, BranchInput, ResidualSource, Wiring};

use super::{Norm, Run};
use crate::error::EngineError;
use crate::weights::Loader;

/// What a branch reads of the stream. To a block it is a norm, be it one that does nothing.
pub(super) enum Reader {
    /// The stream itself.
    Stream,
    /// The stream through a norm.
    Norm(Box<Norm>),
}

impl Reader {
    /// `[.., d_model]` to the same shape.
    pub(super) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor, EngineError> {
        match self {
            Self::Stream => Ok(x.clone()),
            Self::Norm(norm) => norm.forward(run, x),
        }
    }

    /// As [`Norm::forward_copies`].
    pub(super) fn forward_copies<const N: usize>(
        &self,
        run: &mut Run<'_, '_>,
        x: &Tensor,
        copies: &[Tensor; N],
    ) -> Result<[Tensor; N], EngineError> {
        match self {
            Self::Stream => Ok(copies.clone()),
            Self::Norm(norm) => norm.forward_copies(run, x, copies),
        }
    }

    /// One more `copy` of `x`, of its shape.
    pub(super) fn forward_copy(
        &self,
        run: &mut Run<'_, '_>,
        x: &Tensor,
        copy: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let [output] = self.forward_copies(run, x, &[copy.unsqueeze(2)?])?;
        Ok(output.squeeze(2)?)
    }

    /// As [`Norm::refuse_edited_gradients`].
    pub(super) fn refuse_edited_gradients(&self, run: &Run<'_, '_>) -> Result<(), EngineError> {
        match self {
            Self::Stream => Ok(()),
            Self::Norm(norm) => norm.refuse_edited_gradients(run),
        }
    }
}

/// What the branch behind `input` reads through; `None`: through the norm of the other branch.
pub(super) fn load_reader(
    loader: &Loader<'_>,
    name: &str,
    input: &BranchInput,
    d_model: usize,
) -> Result<Option<Reader>, EngineError> {
    Ok(match input {
        BranchInput::Stream => Some(Reader::Stream),
        BranchInput::Norm(norm) => {
            let norm = Norm::load(loader, name, norm, d_model)?;
            Some(Reader::Norm(Box::new(norm)))
        }
        BranchInput::SharedNorm => None,
    })
}

/// From what the body of a branch gives to the stream.
pub(super) struct Exit {
    hook: String,
    norm: Option<Norm>,
    scale: f64,
    pub(super) residual: ResidualSource,
    sum_norm: Option<Norm>,
}

impl Exit {
    /// For the branch whose norm is `norm`, and whose output `hook` shows.
    pub(super) fn load<T>(
        loader: &Loader<'_>,
        [norm, hook]: [&str; 2],
        branch: &Branch<T>,
        wiring: Wiring,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let joins_alone = branch.sum_norm.is_none() && branch.residual == ResidualSource::Stream;
        if wiring == Wiring::Parallel && !joins_alone {
            let feature = "a norm of the sum, or of the residual, in parallel wiring";
            return Err(EngineError::not_implemented(norm, feature));
        }
        let load = |name: &str, spec: &Option<_>| match spec {
            Some(spec) => Norm::load(loader, &format!("{norm}_{name}"), spec, d_model).map(Some),
            None => Ok(None),
        };
        Ok(Self {
            hook: hook.to_owned(),
            norm: load("post", &branch.output_norm)?,
            scale: branch.output_scale,
            residual: branch.residual,
            sum_norm: load("sum", &branch.sum_norm)?,
        })
    }

    /// What the branch adds, of what its body gives.
    pub(super) fn leave(
        &self,
        run: &mut Run<'_, '_>,
        mut output: Tensor,
    ) -> Result<Tensor, EngineError> {
        if let Some(norm) = &self.norm {
            output = run.precision.store(output)?;
            output = norm.forward(run, &output)?;
        }
        if self.scale != 1.0 {
            output = run.precision.store(output)?.affine(self.scale, 0.0)?;
        }
        run.hook(&self.hook, output)
    }

    /// The stream after the branch has added `output` to `residual`.
    pub(super) fn join(
        &self,
        run: &mut Run<'_, '_>,
        residual: &Tensor,
        output: &Tensor,
    ) -> Result<Tensor, EngineError> {
        let sum = (residual + output)?;
        match &self.sum_norm {
            Some(norm) => {
                let sum = run.precision.store(sum)?;
                norm.forward(run, &sum)
            }
            None => Ok(sum),
        }
    }
}
