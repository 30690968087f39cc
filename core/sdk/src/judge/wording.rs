//! Verdicts in words.

use crate::benchmark::ModelInfo;
use crate::compare::{Closeness, Gate};
use crate::result::Measurement;
use crate::trace::{Evaluation, Quantity};

/// An error ratio for a person.
pub fn ratio_text(ratio: f64) -> String {
    if ratio.is_infinite() {
        "infinite".into()
    } else if ratio >= 1e5 {
        format!("{ratio:.1e}")
    } else if ratio >= 100.0 {
        format!("{ratio:.0}")
    } else {
        format!("{ratio:.2}")
    }
}

/// How an evaluation is called.
pub fn evaluation_text(evaluation: Evaluation) -> &'static str {
    match evaluation {
        Evaluation::Cumulative => "cumulative",
        Evaluation::Local => "local",
    }
}

/// What fixed tolerances say.
pub fn tolerance_text(closeness: Closeness) -> String {
    let Closeness {
        tolerance,
        outside,
        elements,
    } = closeness;
    format!(
        "{outside} of {elements} outside atol {:e}, rtol {:e}",
        tolerance.atol, tolerance.rtol
    )
}

/// `message`, with what a run in a narrow precision cannot see: an error inside of its own gate.
pub fn with_blindness(
    mut message: String,
    model: &ModelInfo,
    measurement: Option<&Measurement>,
) -> String {
    if let Some(m) = measurement.filter(|m| model.dtype.is_narrow() && m.difference.truth_rms > 0.0)
    {
        let gate = Gate::for_rows(m.difference.rows).info * m.floor;
        let share = 100.0 * gate / m.difference.truth_rms;
        let (dtype, quantity) = (model.dtype, &m.quantity);
        message.push_str(&format!(
            "; in {dtype} an error of {share:.1}% of {quantity} goes unnoticed"
        ));
    }
    message
}

/// A quantity for a person: a hook by its name alone.
pub fn quantity_text(quantity: &Quantity) -> String {
    match quantity {
        Quantity::Hook(name) => name.clone(),
        Quantity::HookGradient(name) => format!("gradient of {name}"),
        Quantity::ParameterGradient(name) => format!("gradient of parameter {name}"),
        Quantity::Weight(name) => format!("weight {name}"),
        other => other.to_string(),
    }
}

/// The error ratio at the end of each block, which tells an error that grows from one that comes at once.
pub(super) fn by_layer(measurements: &[Measurement]) -> Option<String> {
    let ratios: Vec<String> = measurements
        .iter()
        .filter(|m| m.evaluation == Evaluation::Cumulative)
        .filter(|m| {
            m.quantity
                .as_hook()
                .is_some_and(|name| name.ends_with(".hook_resid_post"))
        })
        .map(|m| ratio_text(m.ratio))
        .collect();
    (!ratios.is_empty()).then(|| ratios.join(", "))
}
