//! Norms over the last dimension.

use candle_core::{D, Tensor};
use tlbench_sdk::spec::{NormKind, NormSpec};

use crate::error::Result;
use crate::parameters::Parameters;
use crate::run::Run;

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
    pub(crate) fn new(name: &str, spec: &NormSpec, weights: &Parameters) -> Self {
        Self {
            name: name.to_owned(),
            kind: spec.kind,
            eps: spec.eps,
            w: weights.find(&format!("{name}.w")).cloned(),
            b: weights.find(&format!("{name}.b")).cloned(),
        }
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

    /// The names of its hooks.
    pub(crate) fn hooks(&self) -> [String; 2] {
        ["hook_scale", "hook_normalized"].map(|hook| format!("{}.{hook}", self.name))
    }

    fn centered(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self.kind {
            NormKind::LayerNorm => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
            NormKind::RmsNorm => x.clone(),
        })
    }

    fn scale(&self, x: &Tensor) -> Result<Tensor> {
        let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
        Ok((mean_square + self.eps)?.sqrt()?)
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
