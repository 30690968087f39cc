//! What comes later has no say.

use tlbench_sdk::judge::{applicable, wrong_count};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, INPUT_IDS, Judgement, ModelInfo, PlannedRequest, PluginError,
    Quantity, Stimulus, Tensor, TensorMap, Trace, TraceRequest,
};

use crate::twin::{Stretch, agree, logits};
use crate::{EXPLAINED, MODULE, refuse_length_dependent, with_logits};

/// Another token changes nothing before it.
pub(crate) struct Causality;

impl Benchmark for Causality {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "causality",
            MODULE,
            "another token changes no logit before it",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        plan(model, |model, stimulus, cut| {
            let mut inputs = stimulus.request.inputs.clone();
            let ids = inputs.get(INPUT_IDS)?;
            let mut values = ids.as_slice::<i64>()?.to_vec();
            let d_vocab = i64::try_from(model.spec.d_vocab).ok()?;
            for value in &mut values[cut..] {
                *value = (*value + 1) % d_vocab;
            }
            let ids = Tensor::from_vec(values, ids.shape()).ok()?;
            inputs.insert(INPUT_IDS.to_owned(), ids);
            Some(inputs)
        })
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        judge(model, check, answers, "stretches before another token")
    }
}

/// A prefix by itself.
pub(crate) struct Prefix;

impl Benchmark for Prefix {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "prefix",
            MODULE,
            "a prefix alone gives the logits that it gives at the beginning of a longer input",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        plan(model, |_, stimulus, cut| {
            let shorter = stimulus.request.inputs.iter().map(|(name, tensor)| {
                let values = tensor.as_slice::<i64>()?.get(..cut)?.to_vec();
                Some((name.clone(), Tensor::from_vec(values, &[1, cut]).ok()?))
            });
            shorter.collect()
        })
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        judge(model, check, answers, "prefixes")
    }
}

/// For each input of one row: the floors, the whole, and the other inputs that have to agree with it up to `cut`.
fn plan(
    model: &ModelInfo,
    others: impl Fn(&ModelInfo, &Stimulus, usize) -> Option<TensorMap>,
) -> Result<Vec<Check>, PluginError> {
    refuse_length_dependent(model)?;
    let sees_ahead = model.spec.layers.iter().any(|layer| {
        let mask = layer.attn.as_ref().map(|branch| branch.body.mask);
        mask.is_some_and(|mask| !matches!(mask, Mask::Band { ahead: Some(0), .. }))
    });
    if sees_ahead {
        return Err(PluginError::unsupported("attention is not causal"));
    }
    let mut checks = Vec::new();
    for stimulus in with_logits(model) {
        let [batch, pos] = stimulus.request.shape();
        if batch != 1 || pos < 2 {
            continue;
        }
        let whole = TraceRequest {
            capture: vec![Quantity::Logits],
            ..stimulus.request.clone()
        };
        let mut requests = vec![
            PlannedRequest::reference(whole.clone()),
            PlannedRequest::subject(whole.clone()),
        ];
        for cut in cuts(pos) {
            let inputs = others(model, stimulus, cut)
                .ok_or_else(|| PluginError::internal("an input that is not of integers"))?;
            let other = TraceRequest {
                inputs,
                ..whole.clone()
            };
            requests.push(PlannedRequest::subject(other));
        }
        checks.push(Check {
            variant: stimulus.id.clone(),
            requests,
        });
    }
    applicable(checks, "the logits of more than one token")
}

/// Behind the first token, in the middle, and before the last.
fn cuts(pos: usize) -> Vec<usize> {
    let mut cuts = vec![1, pos / 2, pos - 1];
    cuts.retain(|&cut| cut > 0);
    cuts.dedup();
    cuts
}

fn judge(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
    what: &str,
) -> Result<Judgement, PluginError> {
    let [floors, whole, others @ ..] = answers else {
        return Err(wrong_count(answers));
    };
    let [_, pos] = check.requests[0].request.shape();
    let pairs = cuts(pos).into_iter().zip(others).map(|(len, other)| {
        let stretch = Stretch {
            row: 0,
            start: 0,
            len,
        };
        Ok((logits(other, stretch)?, logits(whole, stretch)?))
    });
    agree(
        model,
        floors,
        pairs.collect::<Result<_, PluginError>>()?,
        what,
    )
}
