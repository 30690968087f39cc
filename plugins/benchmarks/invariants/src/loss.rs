//! The loss against the logits.

use tlbench_sdk::compare::{Axes, Region, log_softmax};
use tlbench_sdk::judge::{Comparison, answer_of, applicable, stimulus, wrong_count};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Evaluation, INPUT_IDS, Judgement, ModelInfo,
    PlannedRequest, PluginError, Quantity, Stimulus, Tensor, Trace, TraceRequest,
};

use crate::twins::{Compared, verdict};
use crate::{EXPLAINED, MODULE, with_logits};

pub(crate) struct LossIdentity;

impl Benchmark for LossIdentity {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "loss_identity",
            MODULE,
            "the loss is the one that follows from the logits",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let with_loss = with_logits(model).filter(|stimulus| has_loss(stimulus));
        let checks = with_loss.map(|stimulus| {
            let asked = |capture| TraceRequest {
                capture,
                ..stimulus.request.clone()
            };
            let both = vec![Quantity::Logits, Quantity::LossPerToken];
            Check {
                variant: stimulus.id.clone(),
                requests: vec![
                    PlannedRequest::reference(asked(vec![Quantity::LossPerToken])),
                    PlannedRequest::subject(asked(both)),
                ],
            }
        });
        applicable(checks.collect(), "the loss of a token beside the logits")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [floors, subject] = answers else {
            return Err(wrong_count(answers));
        };
        let request = &stimulus(model, check)?.request;
        let quantity = Quantity::LossPerToken;
        let expected = from_logits(request, answer_of(subject, &Quantity::Logits)?)?;
        let found = answer_of(subject, &quantity)?;
        let comparison = Comparison::new(model, request, floors)?;
        let evaluation = Evaluation::Cumulative;
        let compared = Compared {
            outcome: comparison.measure(&quantity, evaluation, Some(found), &expected)?,
            complaint: "the losses are not those that follow from the logits".to_owned(),
        };
        let verdict = verdict(model, &quantity, vec![compared], "losses");
        Ok(Judgement::Verdict(verdict))
    }
}

/// Whether there is a token that follows another one, with a loss to look at.
fn has_loss(stimulus: &Stimulus) -> bool {
    let mask = stimulus.request.inputs.get(ATTENTION_MASK);
    let pairs = |region: Region| region.rows(Axes::Pairs);
    stimulus.shows(&Quantity::LossPerToken)
        && mask
            .and_then(Region::new)
            .is_some_and(|region| pairs(region) > 0)
}

/// The loss of each next token, `[batch, pos - 1]`; 0 where one of the pair is padding.
fn from_logits(request: &TraceRequest, logits: &Tensor) -> Result<Tensor, PluginError> {
    let strange = || {
        let (found, [batch, pos]) = (logits.shape(), request.shape());
        PluginError::invalid_input(format!(
            "logits {found:?} for tokens [{batch}, {pos}]: there is no loss of them"
        ))
    };
    let &[batch, pos, d_vocab] = logits.shape() else {
        return Err(strange());
    };
    let input = |name: &str| {
        let tensor = request.inputs.get(name)?;
        tensor
            .as_slice::<i64>()
            .filter(|values| values.len() == batch * pos)
    };
    let (ids, mask) = input(INPUT_IDS)
        .zip(input(ATTENTION_MASK))
        .ok_or_else(strange)?;
    let log_probs = log_softmax(logits).to_f64_vec();
    let mut losses = Vec::with_capacity(batch * (pos - 1));
    for at in (0..batch * pos).filter(|at| at % pos + 1 < pos) {
        let token = usize::try_from(ids[at + 1])
            .ok()
            .filter(|&token| token < d_vocab);
        let is_pair = mask[at] != 0 && mask[at + 1] != 0;
        losses.push(if is_pair {
            -log_probs[at * d_vocab + token.ok_or_else(strange)?]
        } else {
            0.0
        });
    }
    Ok(Tensor::from_vec(losses, &[batch, pos - 1])?)
}
