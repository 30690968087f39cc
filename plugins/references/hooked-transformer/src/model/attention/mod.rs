//! Multi-head softmax attention ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)), whose heads of keys and values
//! may each serve several of queries ([Ainslie et al. 2023](https://arxiv.org/abs/2305.13245)).

mod frequencies;
mod rotary;
mod scores;

use candle_core::Tensor;
use tlbench_sdk::spec::{AttentionSpec, NormOrder, PositionSpec};

use self::rotary::Rotary;
use self::scores::Scores;
use super::activation::clamped;
use super::norm::HeadsNorm;
use super::softmax::softmax;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::run::Run;
use crate::run_weights::RunWeights;

/// The weights are those of each head: `W_Q [n_heads, d_model, d_head]`, `W_K`, `W_V [n_kv_heads, d_model, d_head]`,
/// `W_O [n_heads, d_head, d_model]`.
pub(crate) struct Attention {
    name: String,
    layer: usize,
    q: Projection,
    k: Projection,
    v: Projection,
    norms: Option<QueryKeyNorms>,
    clip: Option<f64>,
    rotary: Option<Rotary>,
    scores: Scores,
    /// Heads of queries per head of keys and values.
    served: usize,
    w_o: Matrix,
    b_o: Option<Tensor>,
}

/// `x W [head, d_model, d_head] + b [head, d_head]`.
struct Projection {
    hook: String,
    w: Matrix,
    b: Option<Tensor>,
}

struct QueryKeyNorms {
    q: HeadsNorm,
    k: HeadsNorm,
    order: NormOrder,
}

/// What queries, keys and values are made from, `[batch, pos, head, d_model]` each.
pub(crate) struct AttentionInputs {
    pub(crate) q: Tensor,
    pub(crate) k: Tensor,
    pub(crate) v: Tensor,
}

impl Attention {
    pub(crate) fn new(layer: usize, spec: &AttentionSpec, weights: &RunWeights) -> Result<Self> {
        let name = format!("blocks.{layer}.attn");
        let projection = |letter: &str| -> Result<Projection> {
            Ok(Projection {
                hook: format!("{name}.hook_{}", letter.to_lowercase()),
                w: weights.matrix(&format!("{name}.W_{letter}"))?,
                b: weights.vector(&format!("{name}.b_{letter}"))?,
            })
        };
        let norms = match &spec.qk_norm {
            Some(norms) => Some(QueryKeyNorms {
                q: HeadsNorm::new(&format!("{name}.q_norm"), &norms.q, weights)?,
                k: HeadsNorm::new(&format!("{name}.k_norm"), &norms.k, weights)?,
                order: norms.order,
            }),
            None => None,
        };
        Ok(Self {
            q: projection("Q")?,
            k: projection("K")?,
            v: projection("V")?,
            norms,
            clip: spec.clip_qkv,
            rotary: match &spec.position {
                PositionSpec::Rotary(rotary) => Some(Rotary::new(rotary)),
                _ => None,
            },
            scores: Scores::new(spec),
            served: spec.n_heads / spec.n_kv_heads,
            w_o: weights.matrix(&format!("{name}.W_O"))?,
            b_o: weights.vector(&format!("{name}.b_O"))?,
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
        let [q, k] = self.positioned(run, [q, k])?;
        let v = self.clipped(v)?;
        let [k, v] = run.cache.append(self.layer, [k, v])?;
        let [k, v] = [repeated(&k, self.served)?, repeated(&v, self.served)?];
        let [q, k, v] = [q, k, v].map(|heads| heads.transpose(1, 2)?.contiguous());
        let (q, k, v) = (q?, k?, v?);

        let scores = self.scores.forward(run, &q, &k)?;
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

    /// Queries and keys as they meet: normed, clipped and rotated. The hooks of the rotation show them so, a norm after it
    /// included.
    fn positioned(&self, run: &mut Run<'_, '_>, heads: [Tensor; 2]) -> Result<[Tensor; 2]> {
        let [q, k] = self.normed(run, NormOrder::BeforeRotary, heads)?;
        let (q, k) = (self.clipped(q)?, self.clipped(k)?);
        let Some(rotary) = &self.rotary else {
            return self.normed(run, NormOrder::AfterRotary, [q, k]);
        };
        let angles = rotary.angles(run, q.dtype())?;
        let turned = [rotary.rotate(&q, &angles)?, rotary.rotate(&k, &angles)?];
        let [q, k] = self.normed(run, NormOrder::AfterRotary, turned)?;
        Ok([
            run.hook(&format!("{}.hook_rot_q", self.name), q)?,
            run.hook(&format!("{}.hook_rot_k", self.name), k)?,
        ])
    }

    fn normed(
        &self,
        run: &mut Run<'_, '_>,
        now: NormOrder,
        [q, k]: [Tensor; 2],
    ) -> Result<[Tensor; 2]> {
        match &self.norms {
            Some(norms) if norms.order == now => {
                let q = norms.q.forward(run, &q)?;
                Ok([q, norms.k.forward(run, &k)?])
            }
            _ => Ok([q, k]),
        }
    }

    fn clipped(&self, heads: Tensor) -> Result<Tensor> {
        match self.clip {
            Some(bound) => clamped(&heads, -bound, bound),
            None => Ok(heads),
        }
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
        let w_o = self.w_o.flattened()?;
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

/// `[batch, pos, head, d_head]` with each head `times` in a row.
fn repeated(heads: &Tensor, times: usize) -> Result<Tensor> {
    if times == 1 {
        return Ok(heads.clone());
    }
    let (batch, pos, count, d_head) = heads.dims4()?;
    let copies = heads
        .unsqueeze(3)?
        .broadcast_as((batch, pos, count, times, d_head))?;
    Ok(copies.reshape((batch, pos, count * times, d_head))?)
}
