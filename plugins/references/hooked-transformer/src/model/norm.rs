//! Norms over channels.

use candle_core::{D, Tensor};
use tlbench_sdk::spec::{Extent, HeadNorm, NormKind, NormSpec};

use crate::error::Result;
use crate::parameters::Parameters;
use crate::run::Run;

/// LayerNorm ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)), or RMSNorm
/// ([Zhang & Sennrich 2019](https://arxiv.org/abs/1910.07467)).
pub(crate) struct Norm {
    name: String,
    kind: NormKind,
    /// Of `[.., head, d_head]`: whether the mean is over one head or all. What has no heads is as one head.
    extent: Extent,
    eps: f64,
    w: Option<Tensor>,
    b: Option<Tensor>,
}

impl Norm {
    pub(crate) fn new(name: &str, spec: &NormSpec, weights: &Parameters) -> Self {
        Self {
            name: name.to_owned(),
            kind: spec.kind,
            extent: Extent::Head,
            eps: spec.eps,
            w: weights.find(&format!("{name}.w")).cloned(),
            b: weights.find(&format!("{name}.b")).cloned(),
        }
    }

    /// That of queries or keys, `[batch, pos, head, d_head]`.
    pub(crate) fn of_heads(name: &str, spec: &HeadNorm, weights: &Parameters) -> Self {
        Self {
            extent: spec.extent,
            ..Self::new(name, &spec.norm, weights)
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
            NormKind::LayerNorm => x.broadcast_sub(&self.mean(x)?)?,
            NormKind::RmsNorm => x.clone(),
        })
    }

    fn scale(&self, x: &Tensor) -> Result<Tensor> {
        Ok((self.mean(&x.sqr()?)? + self.eps)?.sqrt()?)
    }

    /// `[.., 1]`; of all heads together, the same for each.
    fn mean(&self, x: &Tensor) -> Result<Tensor> {
        let last = x.mean_keepdim(D::Minus1)?;
        Ok(match self.extent {
            Extent::Head => last,
            // Heads are of equal width.
            Extent::AllHeads => {
                let all = last.mean_keepdim(D::Minus2)?;
                all.broadcast_as(last.shape())?.contiguous()?
            }
        })
    }

    fn affine(&self, normalized: Tensor) -> Result<Tensor> {
        let scaled = match &self.w {
            Some(w) => normalized.broadcast_mul(&self.per_channel(w, &normalized)?)?,
            None => normalized,
        };
        Ok(match &self.b {
            Some(b) => scaled.broadcast_add(&self.per_channel(b, &scaled)?)?,
            None => scaled,
        })
    }

    /// A gain or bias as it meets `x`: of all heads together it is `[head * d_head]`.
    fn per_channel(&self, weight: &Tensor, x: &Tensor) -> Result<Tensor> {
        Ok(match self.extent {
            Extent::Head => weight.clone(),
            Extent::AllHeads => weight.reshape((x.dim(D::Minus2)?, x.dim(D::Minus1)?))?,
        })
    }
}
