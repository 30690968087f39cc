//! Which experts serve a token, and how much of each.

use std::cmp::Ordering;

use candle_core::{D, DType, Device, Tensor};
use tlbench_sdk::spec::{MoeSpec, Renormalise, RouterScore, ScoreOrder};

use super::{Linear, Run};
use crate::error::EngineError;
use crate::ops;
use crate::weights::{Loader, Part};

/// Chooses among experts.
pub(super) struct Router {
    /// Of the MLP.
    name: String,
    projection: Linear,
    choice_bias: Option<Part>,
    score: RouterScore,
    order: ScoreOrder,
    top_k: usize,
    renormalise: Renormalise,
    scale: f64,
    n_experts: usize,
}

/// What a router says of every token.
pub(super) struct Routing {
    /// `[tokens, n_experts]`: the factor on what an expert gives; 0 where it is not chosen.
    pub(super) weights: Tensor,
    /// The tokens that each expert is chosen for.
    pub(super) tokens: Vec<Vec<u32>>,
}

impl Router {
    pub(super) fn load(
        loader: &Loader<'_>,
        name: &str,
        spec: &MoeSpec,
        d_model: usize,
    ) -> Result<Self, EngineError> {
        let n_experts = spec.experts.len();
        let router = format!("{name}.router");
        Ok(Self {
            name: name.to_owned(),
            projection: loader.linear(&router, &spec.router, n_experts, d_model)?,
            choice_bias: match &spec.choice_bias {
                Some(bias) => {
                    Some(loader.part(&format!("{name}.choice_bias"), bias, &[n_experts])?)
                }
                None => None,
            },
            score: spec.score,
            order: spec.order,
            top_k: spec.top_k,
            renormalise: spec.renormalise,
            scale: spec.routed_scale,
            n_experts,
        })
    }

    /// The routing of `x [batch, pos, d_model]`.
    pub(super) fn route(&self, run: &mut Run<'_, '_>, x: &Tensor) -> Result<Routing, EngineError> {
        let (batch, pos, _) = x.dims3()?;
        let logits = self.projection.forward(run, x)?;
        let logits = run.precision.store(logits)?;
        let (scores, chosen) = self.scores_and_choice(run, &logits)?;
        let places = Tensor::from_slice(&chosen, (batch, pos, self.top_k), &Device::Cpu)?;
        let weights = self.weights_of_chosen(&scores, &places)?;
        let chosen = self.shown_choice(run, &places)?;
        self.routing(&weights, &chosen)
    }

    /// `[batch, pos, n_experts]`: what the choice is made by or, if that comes first, what it leaves; and the choice,
    /// best first. In HF this is f32 whatever the precision, so nothing is rounded.
    fn scores_and_choice(
        &self,
        run: &mut Run<'_, '_>,
        logits: &Tensor,
    ) -> Result<(Tensor, Vec<u32>), EngineError> {
        let hook = format!("{}.hook_expert_weights", self.name);
        match self.order {
            ScoreOrder::BeforeTopK => {
                let scores = run.probe.hook(&hook, self.score(logits)?)?;
                let chosen = self.choose(run, &scores)?;
                Ok((scores, chosen))
            }
            ScoreOrder::AfterTopK => {
                let chosen = self.choose(run, logits)?;
                let candidates = self.only(logits, &chosen)?;
                let scores = run.probe.hook(&hook, self.score(&candidates)?)?;
                Ok((scores, chosen))
            }
        }
    }

    fn score(&self, logits: &Tensor) -> candle_core::Result<Tensor> {
        match self.score {
            RouterScore::Softmax => ops::softmax(logits),
            RouterScore::Sigmoid => ops::sigmoid(logits),
        }
    }

    /// The experts with the highest values, for each token, best first.
    fn choose(&self, run: &Run<'_, '_>, values: &Tensor) -> Result<Vec<u32>, EngineError> {
        let mut values = values.detach();
        if let Some(bias) = &self.choice_bias {
            run.without_gradient(bias);
            values = values.broadcast_add(&bias.values)?;
        }
        let values = values
            .to_dtype(DType::F64)?
            .flatten_all()?
            .to_vec1::<f64>()?;
        let rows = values.chunks(self.n_experts);
        Ok(rows.flat_map(|row| highest(row, self.top_k)).collect())
    }

    /// `logits` with -inf where an expert is not `chosen`.
    fn only(&self, logits: &Tensor, chosen: &[u32]) -> candle_core::Result<Tensor> {
        let mut is_chosen = vec![0_u8; logits.elem_count()];
        let rows = is_chosen.chunks_mut(self.n_experts);
        for (row, chosen) in rows.zip(chosen.chunks(self.top_k)) {
            chosen.iter().for_each(|&expert| row[expert as usize] = 1);
        }
        let is_chosen = Tensor::from_vec(is_chosen, logits.dims(), &Device::Cpu)?;
        let hidden = Tensor::full(f64::NEG_INFINITY, logits.dims(), &Device::Cpu)?;
        is_chosen.where_cond(logits, &hidden.to_dtype(logits.dtype())?)
    }

    /// `[batch, pos, top_k]`.
    fn weights_of_chosen(&self, scores: &Tensor, places: &Tensor) -> candle_core::Result<Tensor> {
        let weights = scores.contiguous()?.gather(places, D::Minus1)?;
        let weights = match self.renormalise {
            Renormalise::Yes => weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?,
            Renormalise::No => weights,
        };
        if self.scale == 1.0 {
            return Ok(weights);
        }
        weights.affine(self.scale, 0.0)
    }

    /// The choice as the model goes on with it. An edit sends a token to another expert, with the weight of the one
    /// whose place it takes.
    fn shown_choice(
        &self,
        run: &mut Run<'_, '_>,
        places: &Tensor,
    ) -> Result<Vec<u32>, EngineError> {
        let hook = format!("{}.hook_expert_indices", self.name);
        let choice = places.to_dtype(run.precision.computed())?;
        let choice = run.probe.hook(&hook, choice)?.to_dtype(DType::F64)?;
        let choice = choice.flatten_all()?.to_vec1::<f64>()?;
        let mut experts = choice.into_iter();
        let experts = experts.try_fold(Vec::new(), |mut experts, number| {
            let known = (0..self.n_experts as u32).find(|&expert| f64::from(expert) == number);
            experts.push(known.ok_or(number)?);
            Ok(experts)
        });
        experts.map_err(|number: f64| {
            let expected = format!("numbers of experts, from 0 to {}", self.n_experts - 1);
            EngineError::request(&hook, expected, number.to_string())
        })
    }

    fn routing(&self, weights: &Tensor, chosen: &[u32]) -> Result<Routing, EngineError> {
        let n_experts = self.n_experts;
        let n_tokens = chosen.len() / self.top_k;
        let mut tokens = vec![Vec::new(); n_experts];
        let mut is_chosen = vec![0_u8; chosen.len() * n_experts];
        for (place, &expert) in chosen.iter().enumerate() {
            let (token, expert) = ((place / self.top_k) as u32, expert as usize);
            is_chosen[place * n_experts + expert] = 1;
            // Both places of a token may be the same expert's, by an edit.
            if tokens[expert].last() != Some(&token) {
                tokens[expert].push(token);
            }
        }
        let shape = (n_tokens, self.top_k, n_experts);
        let is_chosen = Tensor::from_vec(is_chosen, shape, &Device::Cpu)?;
        let weights = weights
            .reshape((n_tokens, self.top_k, 1))?
            .broadcast_mul(&is_chosen.to_dtype(weights.dtype())?)?
            .sum(1)?;
        Ok(Routing { weights, tokens })
    }
}

/// The places of the `count` highest values, highest first; of equal ones the first. NaN is above all, as in torch.
fn highest(values: &[f64], count: usize) -> impl Iterator<Item = u32> {
    let descending = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (a, b) => b.cmp(&a),
    };
    let mut places: Vec<u32> = (0..values.len() as u32).collect();
    places.sort_by(|&a, &b| descending(values[a as usize], values[b as usize]));
    places.into_iter().take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_values_the_first_is_chosen_and_nan_before_all() {
        let of = |values: &[f64], count| highest(values, count).collect::<Vec<_>>();
        assert_eq!(of(&[0.1, 0.4, 0.4, 0.3], 3), [1, 2, 3]);
        assert_eq!(of(&[0.25; 4], 2), [0, 1]);
        assert_eq!(of(&[0.0, -0.0, 0.0], 3), [0, 1, 2]);
        assert_eq!(of(&[0.5, f64::NEG_INFINITY, f64::NAN], 2), [2, 0]);
    }
}
