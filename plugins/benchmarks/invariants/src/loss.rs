//! The loss against the logits.

use tlbench_sdk::compare::log_softmax;
use tlbench_sdk::judge::{Comparison, Findings, Pass, applicable, stimulus, truth_of, wrong_count};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Evaluation, INPUT_IDS, Judgement, ModelInfo,
    PlannedRequest, PluginError, Quantity, Tensor, Trace, TraceRequest,
};

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
        let with_loss = with_logits(model).filter(|stimulus| {
            stimulus.shows(&Quantity::LossPerToken) && stimulus.request.shape()[1] > 1
        });
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
        applicable(checks.collect(), "the loss beside the logits")
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
        let expected = from_logits(request, truth_of(subject, &Quantity::Logits)?)?;
        let quantity = Quantity::LossPerToken;
        let mut findings = Findings::new(std::slice::from_ref(&quantity), Pass::Forward);
        let comparison = Comparison::new(model, request, floors)?;
        let found = subject.value(&quantity);
        findings.push(comparison.measure(&quantity, Evaluation::Cumulative, found, &expected)?);
        Ok(Judgement::Verdict(findings.verdict(model, "set of losses")))
    }
}

/// The loss of each next token, `[batch, pos - 1]`; 0 where one of the pair is padding.
fn from_logits(request: &TraceRequest, logits: &Tensor) -> Result<Tensor, PluginError> {
    let strange = || PluginError::internal("logits or inputs of another shape");
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
