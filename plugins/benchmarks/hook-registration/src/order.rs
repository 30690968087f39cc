//! Hooks fire in order: an edit changes nothing at hooks before it.

use tlbench_sdk::judge::wrong_count;
use tlbench_sdk::{
    Check, HookPoint, ModelInfo, PlannedRequest, PluginError, Quantity, Severity, Stimulus, Tensor,
    Trace, TraceRequest, Verdict,
};

use crate::edits::{PLAIN_ROW, RowEdit, row_edits};
use crate::first_of;

/// What an edit leaks to a hook before it, as a share of what it does at its own, if the order is another one. Whatever
/// is computed alike in two rows of a batch differs by rounding at most.
const LEAK: f64 = 1e-2;

/// The check of the edits of `stimulus`, if there is anything before one of them.
pub(crate) fn plan(model: &ModelInfo, stimulus: &Stimulus) -> Option<Check> {
    let edits = row_edits(&stimulus.request)?;
    let wanted: Vec<&HookPoint> = model
        .hooks
        .iter()
        .filter(|hook| {
            edits
                .iter()
                .any(|edit| edit.hook == hook.name || is_right_before(model, hook, edit))
        })
        .collect();
    let has_pair = edits
        .iter()
        .any(|edit| wanted.iter().any(|hook| is_before(model, hook, edit)));
    let capture = wanted.iter().map(|hook| Quantity::hook(&hook.name));
    has_pair.then(|| Check {
        variant: format!("order.{}", stimulus.id),
        requests: vec![PlannedRequest::subject(TraceRequest {
            capture: capture.collect(),
            ..stimulus.request.clone()
        })],
    })
}

fn is_before(model: &ModelInfo, hook: &HookPoint, edit: &RowEdit<'_>) -> bool {
    let edited = model.hooks.iter().find(|hook| hook.name == edit.hook);
    edited.is_some_and(|edited| hook.order < edited.order)
}

/// Whether no hook that fires by default lies between `hook`, which does, and the edit.
fn is_right_before(model: &ModelInfo, hook: &HookPoint, edit: &RowEdit<'_>) -> bool {
    let before = model
        .hooks
        .iter()
        .filter(|hook| hook.gate.is_none() && is_before(model, hook, edit));
    before.max_by_key(|hook| hook.order) == Some(hook)
}

/// In each row one hook is edited: what fires before it has to be what it is in the row without an edit.
pub(crate) fn judge(
    model: &ModelInfo,
    check: &Check,
    answers: &[Trace],
) -> Result<Verdict, PluginError> {
    let (Some(planned), [trace]) = (check.requests.first(), answers) else {
        return Err(wrong_count(answers));
    };
    let edits = row_edits(&planned.request).unwrap_or_default();
    let captured: Vec<&HookPoint> = model
        .hooks
        .iter()
        .filter(|hook| {
            planned
                .request
                .capture
                .contains(&Quantity::hook(&hook.name))
        })
        .collect();
    let (mut compared, mut leaks) = (0, Vec::new());
    for edit in &edits {
        for before in captured.iter().filter(|hook| is_before(model, hook, edit)) {
            let Some(value) = trace.value(&Quantity::hook(&before.name)) else {
                leaks.push(format!("{} does not fire", before.name));
                continue;
            };
            compared += 1;
            let change = relative_change(value, edit.row);
            // NaN is a change as well.
            let is_same = change.is_some_and(|change| change <= LEAK * edit.relative);
            if !is_same {
                let (hook, before) = (edit.hook, &before.name);
                leaks.push(format!("an edit at {hook} changes {before} before it"));
            }
        }
    }
    if leaks.is_empty() {
        let count = edits.len();
        let message =
            format!("{count} edits change nothing that fires before them ({compared} values)");
        return Ok(Verdict::new(Severity::Info, message));
    }
    let verdict = Verdict::new(Severity::Danger, first_of(&leaks));
    Ok(leaks
        .iter()
        .fold(verdict, |verdict, leak| verdict.detail("leak", leak)))
}

/// How far row `row` is from the plain one, as a share of its RMS; `None` if there is no such row.
fn relative_change(value: &Tensor, row: usize) -> Option<f64> {
    let (plain, edited) = (
        value.row(PLAIN_ROW)?.to_f64_vec(),
        value.row(row)?.to_f64_vec(),
    );
    let (mut difference, mut size) = (0.0, 0.0);
    for (plain, edited) in plain.iter().zip(&edited) {
        // Masked scores are the same infinity in both.
        if plain != edited {
            difference += (plain - edited).powi(2);
        }
        if plain.is_finite() {
            size += plain * plain;
        }
    }
    Some(if difference == 0.0 {
        0.0
    } else {
        (difference / size).sqrt()
    })
}
