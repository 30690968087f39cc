//! Multi-head softmax attention ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)).

use candle_core::{D, Tensor};
use tlbench_sdk::spec::{AttentionSpec, Mask};

use crate::error::Result;
use crate::parameters::Parameters;
use crate::run::Run;

/// The weights are those of each head: `W_Q`, `W_K`, `W_V [n_heads, d_model, d_head]`, `W_O [n_heads, d_head, d_model]`.
pub(crate) struct Attention {
    name: String,
    layer: usize,
    q: Projection,
    k: Projection,
    v: Projection,
    w_o: Tensor,
    b_o: Option<Tensor>,
    scale: f64,
    mask: Mask,
}

/// `x W [head, d_model, d_head] + b [head, d_head]`.
struct Projection {
    hook: String,
    w: Tensor,
    b: Option<Tensor>,
}

/// What queries, keys and values are made from, `[batch, pos, head, d_model]` each.
pub(crate) struct AttentionInputs {
    pub(crate) q: Tensor,
    pub(crate) k: Tensor,
    pub(crate) v: Tensor,
}

impl Attention {
    pub(crate) fn new(layer: usize, spec: &AttentionSpec, weights: &Parameters) -> Result<Self> {
        let name = format!("blocks.{layer}.attn");
        let projection = |letter: &str| -> Result<Projection> {
            Ok(Projection {
                hook: format!("{name}.hook_{}", letter.to_lowercase()),
                w: weights.get(&format!("{name}.W_{letter}"))?.clone(),
                b: weights.find(&format!("{name}.b_{letter}")).cloned(),
            })
        };
        Ok(Self {
            q: projection("Q")?,
            k: projection("K")?,
            v: projection("V")?,
            w_o: weights.get(&format!("{name}.W_O"))?.clone(),
            b_o: weights.find(&format!("{name}.b_O")).cloned(),
            scale: spec.scale,
            mask: spec.mask,
            name,
            layer,
        })
    }

    /// `[batch, pos, d_model]`: what is added to the residual stream.
    pub(crate) fn forward(
        &self,
        run: &mut Run<'_, '_>,
        inputs: &AttentionInputs,
    ) -> Result<Tensor> {
        let q = self.q.forward(run, &inputs.q)?;
        let k = self.k.forward(run, &inputs.k)?;
        let v = self.v.forward(run, &inputs.v)?;
        let [k, v] = run.cache.append(self.layer, [k, v])?;
        let [q, k, v] = [q, k, v].map(|heads| heads.transpose(1, 2)?.contiguous());
        let (q, k, v) = (q?, k?, v?);

        let scores = (run.order.product(&q, &k.t()?.contiguous()?)? * self.scale)?;
        let scores = masked(&scores, &run.visible(self.mask)?)?;
        let scores = run.hook(&format!("{}.hook_attn_scores", self.name), scores)?;
        let pattern = run.hook(&format!("{}.hook_pattern", self.name), softmax(&scores)?)?;
        let z = run.order.product(&pattern.contiguous()?, &v)?;
        let z = run.hook(
            &format!("{}.hook_z", self.name),
            z.transpose(1, 2)?.contiguous()?,
        )?;
        let sum = self.output(run, &z)?;
        Ok(match &self.b_o {
            Some(b_o) => sum.broadcast_add(b_o)?,
            None => sum,
        })
    }

    /// What the heads write, from `z [batch, pos, head, d_head]`. Where nothing hangs on what each of them writes, it is one
    /// product over all: sums of sums round less, and a healthy implementation would be worse than such a floor.
    fn output(&self, run: &mut Run<'_, '_>, z: &Tensor) -> Result<Tensor> {
        let hook = format!("{}.hook_result", self.name);
        if run.probe.looks_at(&hook) {
            let result = run.order.per_head(z, &self.w_o)?;
            let result = run.hook(&hook, result)?;
            if run.probe.is_passed_through(&hook) {
                return Ok(result.sum(2)?);
            }
        }
        let w_o = self.w_o.flatten_to(1)?;
        Ok(run.order.linear(&z.flatten_from(2)?, &w_o)?)
    }
}

impl Projection {
    fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Tensor> {
        let heads = run.order.per_head(x, &self.w)?;
        let heads = match &self.b {
            Some(b) => heads.broadcast_add(b)?,
            None => heads,
        };
        run.hook(&self.hook, heads)
    }
}

/// `scores [batch, head, pos, key_pos]` with -inf where `visible [batch, 1, pos, key_pos]` is 0.
fn masked(scores: &Tensor, visible: &Tensor) -> Result<Tensor> {
    let visible = visible.broadcast_as(scores.shape())?.contiguous()?;
    let hidden = (scores.ones_like()? * f64::NEG_INFINITY)?;
    Ok(visible.where_cond(scores, &hidden)?)
}

/// Over the last dimension. A row that sees nothing is 0.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    // A constant, as a shift of all scores changes nothing.
    let max = scores.detach().max_keepdim(D::Minus1)?;
    let sees_nothing = max.eq(f64::NEG_INFINITY)?;
    let max = sees_nothing.where_cond(&max.zeros_like()?, &max)?;
    let exp = scores.broadcast_sub(&max)?.exp()?;
    let sum = exp.sum_keepdim(D::Minus1)?;
    let sum = sees_nothing.where_cond(&sum.ones_like()?, &sum)?;
    Ok(exp.broadcast_div(&sum)?)
}
