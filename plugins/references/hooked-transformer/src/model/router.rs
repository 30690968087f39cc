//! Which experts a token goes to, and what each counts.

use candle_core::{D, Device, Tensor};
use tlbench_sdk::spec::{MoeSpec, Renormalise, RouterScore, ScoreOrder};

use super::activation::sigmoid;
use super::mlp::Linear;
use super::softmax::{masked, softmax};
use crate::convert::to_f64;
use crate::error::{Error, Result};
use crate::run::Run;
use crate::run_weights::RunWeights;

/// Scores the experts for each token, and picks the best.
pub(super) struct Router {
    name: String,
    gate: Linear,
    choice_bias: Option<Tensor>,
    score: RouterScore,
    order: ScoreOrder,
    top_k: usize,
    renormalise: Renormalise,
}

/// By token and expert, `[batch, pos, expert]` each.
pub(super) struct Routing {
    /// The factor on what the expert writes.
    pub(super) weights: Tensor,
    /// 1 where the expert was picked, 0 elsewhere.
    pub(super) routed: Tensor,
}

impl Router {
    pub(super) fn new(name: &str, spec: &MoeSpec, weights: &RunWeights) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            gate: Linear::new(name, "gate", weights)?,
            choice_bias: weights.vector(&format!("{name}.choice_bias"))?,
            score: spec.score,
            order: spec.order,
            top_k: spec.top_k,
            renormalise: spec.renormalise,
        })
    }

    pub(super) fn forward(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Routing> {
        let logits = self.gate.forward(run, x)?;
        let weights_hook = format!("{}.hook_expert_weights", self.name);
        let (scores, picked) = match self.order {
            ScoreOrder::BeforeTopK => {
                let scores = run.hook(&weights_hook, self.scored(&logits)?)?;
                let picked = self.best(&scores)?;
                (scores, picked)
            }
            ScoreOrder::AfterTopK => {
                let picked = self.best(&logits)?;
                let among = self.routed(&picked, &logits)?;
                let scores = self.scored(&masked(&logits, &among.gt(0.0)?)?)?;
                (run.hook(&weights_hook, scores)?, picked)
            }
        };
        let picked = run.hook(&format!("{}.hook_expert_indices", self.name), picked)?;
        let routed = self.routed(&picked, &scores)?;
        let weights = (scores * &routed)?;
        let weights = match self.renormalise {
            Renormalise::Yes => weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?,
            Renormalise::No => weights,
        };
        Ok(Routing { weights, routed })
    }

    fn scored(&self, logits: &Tensor) -> Result<Tensor> {
        match self.score {
            RouterScore::Softmax => softmax(logits),
            RouterScore::Sigmoid => sigmoid(logits),
        }
    }

    /// The indices of the `top_k` largest, `[batch, pos, top_k]`, as numbers; of equal ones the first.
    fn best(&self, scores: &Tensor) -> Result<Tensor> {
        let (batch, pos, experts) = scores.dims3()?;
        let ranked = match &self.choice_bias {
            Some(bias) => scores.detach().broadcast_add(&bias.detach())?,
            None => scores.detach(),
        };
        let best = |scores: &[f64]| -> Vec<f64> {
            let mut indices: Vec<usize> = (0..experts).collect();
            indices.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let best = indices.into_iter().take(self.top_k);
            best.map(|index| index as f64).collect()
        };
        let indices = to_f64(&ranked)?.chunks(experts).flat_map(best).collect();
        let shape = (batch, pos, self.top_k);
        let indices: Tensor = Tensor::from_vec::<_, f64>(indices, shape, &Device::Cpu)?;
        Ok(indices.to_dtype(scores.dtype())?)
    }

    /// 1 at each of `indices [batch, pos, top_k]` and 0 elsewhere, in shape and precision of `scores`.
    fn routed(&self, indices: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let experts = scores.dim(D::Minus1)?;
        let mut routed = vec![0.0; scores.elem_count()];
        let indices = to_f64(&indices.detach())?;
        for (token, indices) in indices.chunks(self.top_k).enumerate() {
            for &index in indices {
                if !(0.0..experts as f64).contains(&index) || index.fract() != 0.0 {
                    let hook = format!("{}.hook_expert_indices", self.name);
                    let expected = format!("integers from 0 to {}", experts - 1);
                    return Err(Error::request(hook, expected, index.to_string()));
                }
                routed[token * experts + index as usize] = 1.0;
            }
        }
        let routed = Tensor::from_vec(routed, scores.shape(), &Device::Cpu)?;
        Ok(routed.to_dtype(scores.dtype())?)
    }
}
