//! What attention and MLP have in common: a way in from the residual stream, and one back.

use candle_core::Tensor;
use tlbench_sdk::spec::{self, ResidualSource};

use super::norm::Norm;
use crate::error::Result;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// A body between the norms of its branch.
pub(super) struct Branch<T> {
    pub(super) body: T,
    /// The norm of its own that it reads through.
    pub(super) norm: Option<Norm>,
    out_hook: String,
    output_norm: Option<Norm>,
    output_scale: f64,
    residual: ResidualSource,
    sum_norm: Option<Norm>,
}

/// What a branch was given.
pub(super) struct Read<'a> {
    pub(super) stream: &'a Tensor,
    pub(super) normalized: &'a Tensor,
}

impl<T> Branch<T> {
    /// The branch behind the norm `ln`, whose output is shown at `out_hook`.
    pub(super) fn new<S>(
        ln: &str,
        out_hook: String,
        spec: &spec::Branch<S>,
        body: T,
        weights: &RunWeights,
    ) -> Result<Self> {
        let norm = |suffix: &str, spec: Option<&spec::NormSpec>| {
            spec.map(|spec| Norm::new(&format!("{ln}{suffix}"), spec, weights))
                .transpose()
        };
        Ok(Self {
            body,
            norm: norm("", spec.input_norm())?,
            out_hook,
            output_norm: norm("_post", spec.output_norm.as_ref())?,
            output_scale: spec.output_scale,
            residual: spec.residual,
            sum_norm: norm("_sum", spec.sum_norm.as_ref())?,
        })
    }

    /// What joins the stream, from what the body gives.
    pub(super) fn written(&self, run: &mut Run<'_, '_>, out: Tensor) -> Result<Tensor> {
        let out = match &self.output_norm {
            Some(norm) => norm.forward(run, &out)?,
            None => out,
        };
        let out = run.hook(&self.out_hook, out)?;
        Ok(match self.output_scale {
            1.0 => out,
            scale => (out * scale)?,
        })
    }

    /// The stream with `written` in it.
    pub(super) fn joined(&self, read: &Read<'_>, written: &Tensor) -> Result<Tensor> {
        let base = match self.residual {
            ResidualSource::Stream => read.stream,
            ResidualSource::Input => read.normalized,
        };
        let sum = (base + written)?;
        match &self.sum_norm {
            Some(norm) => norm.forward_unhooked(&sum),
            None => Ok(sum),
        }
    }
}
