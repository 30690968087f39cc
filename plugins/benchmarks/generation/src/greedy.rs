//! Greedy tokens.

use tlbench_sdk::judge::{applicable, ask_both, stimulus};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Quantity,
    Severity, Trace, Verdict,
};

use crate::tokens::{Parting, continued, generated, margin, partings, rows};
use crate::{MODULE, generating};

/// Two logits that are closer than this many floors may change places by rounding: a floor is an RMS, and the largest of
/// many errors is a few times that.
pub(crate) const TIE: f64 = 10.0;

pub(crate) struct Generation;

impl Benchmark for Generation {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "generation",
            MODULE,
            "greedy tokens are the reference's, but where two logits are closer than rounding",
        )
        .explained(include_str!("explained/generation.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let check = |stimulus| ask_both(stimulus, vec![Quantity::Generated]);
        applicable(generating(model).map(check).collect(), "generated tokens")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let request = &stimulus(model, check)?.request;
        let [truth, subject, logits @ ..] = answers else {
            return Err(PluginError::internal(format!(
                "{} answers to judge",
                answers.len()
            )));
        };
        let (expected, found) = (generated(truth)?, generated(subject)?);
        let partings = partings(found, expected)?;
        if partings.is_empty() {
            let lengths: Vec<String> = rows(expected)?
                .iter()
                .map(|row| row.len().to_string())
                .collect();
            let message = format!("all {} tokens are the reference's", lengths.join(" + "));
            return Ok(Judgement::Verdict(Verdict::new(Severity::Info, message)));
        }
        match logits {
            // How clear the choice was, the reference has to say.
            [] => {
                let inputs = continued(request, expected)?;
                let asked = model.request(inputs, vec![Quantity::Logits]);
                Ok(Judgement::More(vec![PlannedRequest::reference(asked)]))
            }
            [logits, ..] => {
                let [_, prompt] = request.shape();
                let margins: Vec<(Parting, Option<f64>)> = partings
                    .into_iter()
                    .map(|parting| (parting, margin(logits, &parting, prompt, model.dtype)))
                    .collect();
                Ok(Judgement::Verdict(verdict(&margins)))
            }
        }
    }
}

/// Ties may be broken otherwise; anything else is a failure.
pub(crate) fn verdict(margins: &[(Parting, Option<f64>)]) -> Verdict {
    let is_tie = |margin: &Option<f64>| margin.is_some_and(|margin| margin.abs() <= TIE);
    let clear = margins.iter().find(|(_, margin)| !is_tie(margin));
    match clear {
        Some((parting, margin)) => {
            let Parting {
                row,
                step,
                found,
                expected,
            } = parting;
            let token = |token: &Option<i64>| {
                token.map_or("the end".to_owned(), |token| format!("token {token}"))
            };
            let clear = margin.map_or(
                "the reference does not say how clear the choice was".to_owned(),
                |margin| {
                    format!("the reference prefers its own by {margin:.0} floors of the logits")
                },
            );
            Verdict::new(
                Severity::Danger,
                format!(
                    "row {row}, step {step}: {} where the reference has {}; {clear}",
                    token(found),
                    token(expected)
                ),
            )
        }
        None => Verdict::new(
            Severity::Info,
            format!(
                "tokens are the reference's up to {} ties within rounding",
                margins.len()
            ),
        ),
    }
}
