//! An edit of a weight takes effect, and nothing of it stays.

use tlbench_sdk::judge::{Comparison, Outcome, ratio_text, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Evaluation, Judgement, Mode, ModelInfo, PlannedRequest,
    PluginError, Quantity, Severity, Trace, Verdict,
};

use crate::edit::{Edit, asked, input_with_loss};
use crate::tied::Tied;
use crate::untouched::first_change;
use crate::{EXPLAINED, MODULE};

/// From this error ratio on an effect is more than rounding can be.
const MORE_THAN_ROUNDING: f64 = 10.0;

const FIRST_HEAD: &str = "first_head";
const TIED_EMBEDDING: &str = "tied_embedding";

pub(crate) struct WeightModification;

impl Benchmark for WeightModification {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "weight_modification",
            MODULE,
            "an edit of a weight changes the loss, and nothing of it stays",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        let edit = Edit::of(model)?;
        let stimulus = input_with_loss(model)?;
        let plain = plain(model)?;
        let losses = asked(stimulus, vec![Quantity::LossPerToken]);
        let mut checks = vec![Check {
            variant: FIRST_HEAD.into(),
            requests: vec![
                PlannedRequest::reference(losses.clone()),
                plain,
                PlannedRequest::subject(edit.made_in(losses)),
            ],
        }];
        if model.mode == Mode::Raw
            && let Some(tied) = Tied::of(model)
        {
            checks.push(tied.check(TIED_EMBEDDING, stimulus));
        }
        Ok(checks)
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        if check.variant == TIED_EMBEDDING {
            let tied = Tied::of(model);
            let tied = tied.ok_or_else(|| PluginError::internal("the embedding is not tied"))?;
            return Ok(Judgement::Verdict(tied.verdict(check, answers)?));
        }
        Ok(match answers {
            // Only what is asked now is asked after the edit for certain.
            [_, _, _] => Judgement::More(vec![plain(model)?.again()]),
            [truth, plain, edited, later] => {
                Judgement::Verdict(verdict(model, check, [truth, plain, edited, later])?)
            }
            _ => {
                return Err(wrong_count(answers));
            }
        })
    }
}

/// The question without the edit.
fn plain(model: &ModelInfo) -> Result<PlannedRequest, PluginError> {
    let weight = Quantity::Weight(Edit::of(model)?.weight);
    let capture = vec![Quantity::Logits, Quantity::LossPerToken, weight];
    Ok(PlannedRequest::subject(asked(
        input_with_loss(model)?,
        capture,
    )))
}

fn verdict(
    model: &ModelInfo,
    check: &Check,
    [truth, plain, edited, later]: [&Trace; 4],
) -> Result<Verdict, PluginError> {
    if let Some(quantity) = first_change(plain, later) {
        let message =
            format!("{quantity} is not what it was before the edit: something of it stays");
        return Ok(Verdict::new(Severity::Danger, message));
    }
    let weight = Edit::of(model)?.weight;
    let what = format!("{weight} of the first head set to 0");
    let losses = Quantity::LossPerToken;
    let unchanged = plain.value(&losses).zip(edited.value(&losses));
    if unchanged.is_some_and(|(before, after)| before == after) {
        let message = format!("{what}: no loss changes by a single bit");
        return Ok(Verdict::new(Severity::Danger, message));
    }
    let request = match check.requests.first() {
        Some(planned) => &planned.request,
        None => return Err(PluginError::internal("a check without a question")),
    };
    let comparison = Comparison::new(model, request, truth)?;
    let before = tlbench_sdk::judge::truth_of(plain, &losses)?;
    let effect = comparison.measure(
        &losses,
        Evaluation::Cumulative,
        edited.value(&losses),
        before,
    )?;
    let effect = match effect {
        Outcome::Measured(effect) if effect.difference.mismatched == 0 => effect,
        Outcome::Measured(_) => {
            let message = format!("{what}: losses are no numbers any more");
            return Ok(Verdict::new(Severity::Danger, message));
        }
        Outcome::Broken(divergence) => {
            let message = format!("{what}: {}", divergence.reason);
            return Ok(Verdict::new(Severity::Danger, message));
        }
    };
    let (rms, ratio) = (effect.difference.rms, ratio_text(effect.ratio));
    let message = format!("{what} changes the losses by {rms:.2e} (rms), {ratio} times the floor");
    // The measurement is of an effect, which is to be large: it is no comparison that could pass.
    Ok(if effect.ratio > MORE_THAN_ROUNDING {
        Verdict::new(
            Severity::Info,
            format!("{message}, and nothing of it stays"),
        )
    } else if effect.ratio > 1.0 {
        Verdict::new(
            Severity::Warning,
            format!("{message}: hardly more than rounding"),
        )
    } else {
        Verdict::new(
            Severity::Danger,
            format!("{message}: no more than rounding"),
        )
    })
}
