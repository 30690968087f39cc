//! What comes later has no say.

use tlbench_sdk::judge::{applicable, ask_both, wrong_count};
use tlbench_sdk::spec::Mask;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, INPUT_IDS, Judgement, ModelInfo, PlannedRequest, PluginError,
    Quantity, Stimulus, Tensor, TensorMap, Trace, TraceRequest, is_padded,
};

use crate::sample::{cuts, sample};
use crate::tokens::others;
use crate::twins::{Stretch, Twins, agree};
use crate::{EXPLAINED, MODULE, for_logits, with_logits};

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
        plan(model, |stimulus, cut| {
            let mut inputs = stimulus.request.inputs.clone();
            let ids = inputs.get(INPUT_IDS)?;
            let (before, behind) = ids.as_slice::<i64>()?.split_at_checked(cut)?;
            let changed = [before, &others(behind, model.spec.d_vocab)].concat();
            let changed = Tensor::from_vec(changed, ids.shape()).ok()?;
            inputs.insert(INPUT_IDS.to_owned(), changed);
            Some(inputs)
        })
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let complaint =
            |cut| format!("other tokens from position {cut} on change logits before it");
        judge(
            model,
            check,
            answers,
            "stretches before other tokens",
            complaint,
        )
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
        if model.spec.positions_depend_on_length() {
            return of_the_reference(model);
        }
        plan(model, |stimulus, cut| {
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
        let complaint = |cut| match cut {
            1 => "the first token gives other logits alone than before others".to_owned(),
            _ => format!("the first {cut} tokens give other logits alone than before others"),
        };
        if model.spec.positions_depend_on_length() {
            return judge_by_the_reference(model, check, answers);
        }
        judge(model, check, answers, "prefixes", complaint)
    }
}

/// For each input that begins another one: what both make of it. Where positions depend on the length, the longer input
/// says nothing about it.
fn of_the_reference(model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
    refuse_sight_of_what_is_ahead(model)?;
    let tokens = |stimulus: &Stimulus| -> Vec<i64> {
        let ids = stimulus.request.inputs.get(INPUT_IDS);
        let ids = ids.and_then(Tensor::as_slice::<i64>);
        ids.map(<[i64]>::to_vec).unwrap_or_default()
    };
    let rows: Vec<&Stimulus> = with_logits(model)
        .filter(|stimulus| stimulus.request.shape()[0] == 1 && !is_padded(&stimulus.request.inputs))
        .collect();
    let begins_another = |stimulus: &&&Stimulus| {
        let beginning = tokens(stimulus);
        rows.iter().any(|other| {
            let other = tokens(other);
            other.len() > beginning.len() && other.starts_with(&beginning)
        })
    };
    let prefixes = rows.iter().filter(begins_another);
    let checks = prefixes.map(|stimulus| ask_both(stimulus, vec![Quantity::Logits]));
    applicable(checks.collect(), "the logits of a prefix of another input")
}

fn judge_by_the_reference(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
) -> Result<Judgement, PluginError> {
    let (Some(asked), [truth, subject]) = (check.requests.first(), answers) else {
        return Err(wrong_count(answers));
    };
    let [_, pos] = asked.request.shape();
    let whole = Stretch::beginning(0, pos);
    let complaint = format!("the first {pos} tokens give other logits alone than the reference's");
    let twins = [Twins::new((subject, whole), (truth, whole), complaint)];
    agree(model, truth, twins.into_iter(), "prefixes").map(Judgement::Verdict)
}

/// For each input of one row: the floors, the whole, and the inputs that have to agree with it up to each cut.
fn plan(
    model: &ModelInfo,
    twin: impl Fn(&Stimulus, usize) -> Option<TensorMap>,
) -> Result<Vec<Check>, PluginError> {
    refuse_sight_of_what_is_ahead(model)?;
    let rows = with_logits(model).filter(|stimulus| {
        let [batch, pos] = stimulus.request.shape();
        batch == 1 && pos > 1 && !is_padded(&stimulus.request.inputs)
    });
    let mut checks = Vec::new();
    for stimulus in sample(model, rows) {
        let [_, pos] = stimulus.request.shape();
        let whole = for_logits(&stimulus.request);
        let mut requests = vec![
            PlannedRequest::reference(whole.clone()),
            PlannedRequest::subject(whole.clone()),
        ];
        for cut in cuts(model, pos) {
            let inputs = twin(stimulus, cut)
                .ok_or_else(|| PluginError::internal("an input that is not of integers"))?;
            requests.push(PlannedRequest::subject(TraceRequest {
                inputs,
                ..whole.clone()
            }));
        }
        checks.push(Check {
            variant: stimulus.id.clone(),
            requests,
        });
    }
    applicable(checks, "the logits of more than one token")
}

fn refuse_sight_of_what_is_ahead(model: &ModelInfo) -> Result<(), PluginError> {
    let sees_ahead = model.spec.layers.iter().any(|layer| {
        let mask = layer.attn.as_ref().map(|branch| branch.body.mask);
        mask.is_some_and(|mask| !matches!(mask, Mask::Band { ahead: Some(0), .. }))
    });
    if sees_ahead {
        return Err(PluginError::unsupported("attention is not causal"));
    }
    Ok(())
}

fn judge(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
    what: &str,
    complaint: impl Fn(usize) -> String,
) -> Result<Judgement, PluginError> {
    let (Some(asked), [floors, whole, others @ ..]) = (check.requests.first(), answers) else {
        return Err(wrong_count(answers));
    };
    let [_, pos] = asked.request.shape();
    let cuts = cuts(model, pos);
    if cuts.len() != others.len() {
        return Err(wrong_count(answers));
    }
    let twins = cuts.into_iter().zip(others).map(|(cut, other)| {
        let before = Stretch::beginning(0, cut);
        Twins::new((other, before), (whole, before), complaint(cut))
    });
    agree(model, floors, twins, what).map(Judgement::Verdict)
}
