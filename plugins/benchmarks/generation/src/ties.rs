//! Choices between two tokens that rounding may turn around.

use tlbench_sdk::judge::{answer_of, ratio_text};
use tlbench_sdk::{
    Check, Evaluation, Judgement, ModelInfo, PlannedRequest, PluginError, Quantity, Role, Severity,
    Tensor, Trace, TraceRequest, Verdict,
};

use crate::tokens::{Parting, continued};

/// Two logits that are closer than this many floors may change places by rounding: a floor is an RMS, and the largest of
/// many errors is a few times that.
const TIE: f64 = 10.0;

/// The floor of the logits as a share of their RMS, in roundoffs of the precision, where no reference shows one. Logits
/// of healthy models of two to twelve layers have floors of 2 to 16 roundoffs.
const FLOOR_IN_ROUNDOFFS: f64 = 8.0;

/// Asks the reference for the logits of a plain input, whose floor says how large rounding is.
pub(crate) fn floors(model: &ModelInfo) -> Option<PlannedRequest> {
    let plain = model
        .stimuli
        .iter()
        .find(|stimulus| stimulus.request.is_plain() && stimulus.shows(&Quantity::Logits))?;
    Some(PlannedRequest::reference(TraceRequest {
        capture: vec![Quantity::Logits],
        ..plain.request.clone()
    }))
}

/// Judges sequences that part from those of `other`, and go on as `sequence` up to there. The subject's own logits say
/// how clear each choice was; they are asked for first.
pub(crate) fn judge(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
    partings: &[Parting],
    sequence: &Tensor,
    other: &str,
) -> Result<Judgement, PluginError> {
    let request = &check.requests[0].request;
    let Some(logits) = logits_by(Role::Subject, check, answers) else {
        let inputs = continued(request, sequence)?;
        let asked = model.request(inputs, vec![Quantity::Logits]);
        return Ok(Judgement::More(vec![PlannedRequest::subject(asked)]));
    };
    let logits = answer_of(logits, &Quantity::Logits)?;
    let floor = relative_floor(model, logits_by(Role::Reference, check, answers));
    let [_, prompt] = request.shape();
    let clear = partings.iter().find_map(|parting| {
        let margin = margin(logits, parting, prompt).map(|margin| margin / floor);
        let is_tie = margin.is_some_and(|margin| margin.abs() <= TIE);
        (!is_tie).then_some((parting, margin))
    });
    Ok(Judgement::Verdict(match clear {
        Some((parting, margin)) => differing(parting, margin, other),
        None => tied(partings.len(), other),
    }))
}

/// The logits that were asked of `role`.
fn logits_by<'a>(role: Role, check: &Check, answers: &'a [Trace]) -> Option<&'a Trace> {
    let mut asked = check.requests.iter().zip(answers);
    asked
        .find(|(planned, _)| planned.role == role && planned.request.generate.is_none())
        .map(|(_, answer)| answer)
}

/// The floor of the logits as a share of their RMS.
fn relative_floor(model: &ModelInfo, reference: Option<&Trace>) -> f64 {
    let measured = reference.and_then(|trace| {
        let rms = rms(&trace.value(&Quantity::Logits)?.to_f64_vec());
        let floor = trace.floor(&Quantity::Logits)?;
        Some(floor.at(Evaluation::Cumulative, model.dtype, rms)? / rms)
    });
    measured
        .filter(|floor| floor.is_finite() && *floor > 0.0)
        .unwrap_or(FLOOR_IN_ROUNDOFFS * model.dtype.roundoff())
}

/// How much larger the logit of the found token is than that of the expected one, as a share of the RMS of all logits
/// there; `None` where one of them has none.
fn margin(logits: &Tensor, parting: &Parting, prompt: usize) -> Option<f64> {
    let &[_, pos, d_vocab] = logits.shape() else {
        return None;
    };
    let at = (prompt + parting.step).checked_sub(1)?;
    if at >= pos {
        return None;
    }
    let row = logits.row(parting.row)?.to_f64_vec();
    let here = &row[at * d_vocab..(at + 1) * d_vocab];
    let logit = |token: Option<i64>| here.get(usize::try_from(token?).ok()?).copied();
    Some((logit(parting.found)? - logit(parting.expected)?) / rms(here))
}

fn rms(values: &[f64]) -> f64 {
    let squares: f64 = values.iter().map(|value| value * value).sum();
    (squares / values.len().max(1) as f64).sqrt()
}

fn differing(parting: &Parting, margin: Option<f64>, other: &str) -> Verdict {
    let token =
        |token: Option<i64>| token.map_or("the end".to_owned(), |token| format!("token {token}"));
    let choice = match margin {
        None => String::new(),
        Some(margin) if margin >= 0.0 => {
            format!(
                "; the subject's logits prefer it by {} floors",
                ratio_text(margin)
            )
        }
        Some(margin) if margin < 0.0 => {
            format!(
                "; the subject's own logits prefer the other by {} floors",
                ratio_text(-margin)
            )
        }
        Some(_) => "; the subject's logits are NaN".to_owned(),
    };
    let Parting { row, step, .. } = parting;
    let (found, expected) = (token(parting.found), token(parting.expected));
    let message = format!("row {row}, step {step}: {found} where {other} has {expected}{choice}");
    Verdict::new(Severity::Danger, message)
}

fn tied(count: usize, other: &str) -> Verdict {
    let ties = match count {
        1 => "a tie".to_owned(),
        _ => format!("{count} ties"),
    };
    let message = format!("the same tokens as {other}, up to {ties} within rounding");
    Verdict::new(Severity::Info, message)
}
