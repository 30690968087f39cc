//! Choices between two tokens that rounding may turn around.

use tlbench_sdk::judge::{answer_of, ratio_text};
use tlbench_sdk::{
    Check, DType, Evaluation, Judgement, ModelInfo, PlannedRequest, PluginError, Quantity, Role,
    Severity, Tensor, Trace, TraceRequest, Verdict,
};

use crate::tokens::{Parting, continued, count_text, refuse_silence};

/// Two logits that are closer than this many floors may change places by rounding: a floor is an RMS, and the largest of
/// many errors is a few times that.
const TIE: f64 = 10.0;

/// The floor of the logits as a share of their RMS, in roundoffs of f32 or f64, where no reference shows one.
///
/// Measured against f64 by `logits_equivalence`, as floor over RMS of the truth: 3.4 to 5.6 for both checkpoints that are
/// shipped, by HuggingFace and by `hooked-transformer`; 5 to 6 for random ones of width 64 with 2 and 12 layers, and 9 to
/// 12 for those of width 256 with 12 and 24.
const FLOOR_IN_ROUNDOFFS: f64 = 8.0;

/// The same in bf16 and f16, whose sums are taken in f32 and rounded once. Measured in the same way: 1.0 to 3.4.
const FLOOR_IN_NARROW_ROUNDOFFS: f64 = 2.5;

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

/// Judges sequences that go on as `sequence` up to where they part from those of `other`, if they do. The subject's own
/// logits say how clear each choice was; they are asked for first.
pub(crate) fn judge(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
    partings: &[Parting],
    sequence: &Tensor,
    other: &str,
) -> Result<Judgement, PluginError> {
    if partings.is_empty() {
        return agreed(sequence, other).map(Judgement::Verdict);
    }
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
        .unwrap_or_else(|| assumed_floor(model.dtype))
}

fn assumed_floor(dtype: DType) -> f64 {
    let roundoffs = if dtype.is_narrow() {
        FLOOR_IN_NARROW_ROUNDOFFS
    } else {
        FLOOR_IN_ROUNDOFFS
    };
    roundoffs * dtype.roundoff()
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

fn agreed(sequence: &Tensor, other: &str) -> Result<Verdict, PluginError> {
    refuse_silence([sequence])?;
    let message = format!("{} as in {other}", count_text(sequence));
    Ok(Verdict::new(Severity::Info, message))
}

fn differing(parting: &Parting, margin: Option<f64>, other: &str) -> Verdict {
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
        Some(_) => "; the subject's logits are NaN or all 0".to_owned(),
    };
    let message = format!("{}{choice}", parting.text(other));
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
