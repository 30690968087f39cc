//! Norms over channels.

use candle_core::{D, Tensor};
use tlbench_sdk::spec::{Extent, HeadNorm, NormKind, NormSpec};

use crate::error::Result;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// LayerNorm ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)), or RMSNorm
/// ([Zhang & Sennrich 2019](https://arxiv.org/abs/1910.07467)).
pub(crate) struct Norm {
    name: String,
    kind: NormKind,
    eps: f64,
    w: Option<Tensor>,
    b: Option<Tensor>,
}

impl Norm {
    pub(crate) fn new(name: &str, spec: &NormSpec, weights: &RunWeights) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            kind: spec.kind,
            eps: spec.eps,
            w: weights.vector(&format!("{name}.w"))?,
            b: weights.vector(&format!("{name}.b"))?,
        })
    }

    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let [scale, normalized] = self.hooks();
        let x = self.centered(x)?;
        let scale = run.hook(&scale, self.scale(&x)?)?;
        let normalized = run.hook(&normalized, x.broadcast_div(&scale)?)?;
        self.affine(normalized)
    }

    /// The same without hooks, for what is a copy.
    pub(crate) fn forward_unhooked(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.centered(x)?;
        self.affine(x.broadcast_div(&self.scale(&x)?)?)
    }

    /// The same norm, whose gain and bias get no gradient.
    pub(crate) fn detached(&self) -> Self {
        let detached = |weight: &Option<Tensor>| weight.as_ref().map(Tensor::detach);
        Self {
            name: self.name.clone(),
            w: detached(&self.w),
            b: detached(&self.b),
            ..*self
        }
    }

    /// The gradient by `x`, from that by what the norm makes of it: with `n` normalized and `g` times the gain,
    /// `(g - n mean(g n)) / scale`, without its mean where the norm centres.
    pub(crate) fn pulled_back(&self, x: &Tensor, gradient: &Tensor) -> candle_core::Result<Tensor> {
        let centered = self.centered(x)?;
        let scale = self.scale(&centered)?;
        let normalized = centered.broadcast_div(&scale)?;
        let gradient = match &self.w {
            Some(w) => gradient.broadcast_mul(w)?,
            None => gradient.clone(),
        };
        let along = (&gradient * &normalized)?.mean_keepdim(D::Minus1)?;
        let across = (gradient - normalized.broadcast_mul(&along)?)?;
        self.centered(&across.broadcast_div(&scale)?)
    }

    /// The names of its hooks.
    pub(crate) fn hooks(&self) -> [String; 2] {
        ["hook_scale", "hook_normalized"].map(|hook| format!("{}.{hook}", self.name))
    }

    fn centered(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self.kind {
            NormKind::LayerNorm => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?),
            NormKind::RmsNorm => Ok(x.clone()),
        }
    }

    fn scale(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        (x.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()
    }

    fn affine(&self, normalized: Tensor) -> Result<Tensor> {
        let scaled = match &self.w {
            Some(w) => normalized.broadcast_mul(w)?,
            None => normalized,
        };
        Ok(match &self.b {
            Some(b) => scaled.broadcast_add(b)?,
            None => scaled,
        })
    }
}

/// A norm of queries or keys.
pub(crate) struct HeadsNorm {
    norm: Norm,
    extent: Extent,
}

impl HeadsNorm {
    pub(crate) fn new(name: &str, spec: &HeadNorm, weights: &RunWeights) -> Result<Self> {
        Ok(Self {
            norm: Norm::new(name, &spec.norm, weights)?,
            extent: spec.extent,
        })
    }

    /// `[batch, pos, head, d_head]` to the same shape; all heads together are one vector, `[batch, pos, head * d_head]`.
    pub(crate) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        match self.extent {
            Extent::Head => self.norm.forward(run, x),
            Extent::AllHeads => {
                let together = self.norm.forward(run, &x.flatten_from(2)?)?;
                Ok(together.reshape(x.shape())?)
            }
        }
    }
}
