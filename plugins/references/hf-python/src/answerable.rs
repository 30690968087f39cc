//! What transformers can be asked here, and what is left of a question that asks for more.

use std::collections::BTreeSet;

use tlbench_sdk::{
    Action, DType, Evaluation, HookPoint, Intervention, Quantity, Sampling, Stimulus, Target,
    Tensor, TensorMap, TraceRequest,
};

/// Why `request` cannot be answered with the rounding errors of `precision`; `None`: it can, if transformers shows what
/// it names.
pub(crate) fn refusal(request: &TraceRequest, precision: DType) -> Option<String> {
    if !request.processing.is_raw() {
        return Some("hf-python answers about weights as they are stored".into());
    }
    if request.evaluation == Evaluation::Local {
        return Some("hf-python is the truth, and does not run on another one".into());
    }
    if precision.is_narrow() && !request.is_plain() {
        return Some(format!(
            "hf-python measures rounding in {precision} of plain forward passes alone"
        ));
    }
    let mut captured = request.capture.iter();
    if let Some(quantity) = captured.find(|quantity| !is_shown(quantity, request)) {
        return Some(format!(
            "hf-python does not show `{quantity}` {}",
            kind(request)
        ));
    }
    let is_altered = request.gradients.is_some() || !request.interventions.is_empty();
    if (!request.chunks.is_empty() || request.generate.is_some()) && is_altered {
        return Some("hf-python neither edits nor differentiates a run with a cache".into());
    }
    if let Some(generate) = &request.generate {
        if !request.chunks.is_empty() {
            return Some("hf-python does not feed a prompt in pieces".into());
        }
        if let Sampling::Temperature { .. } = generate.sampling {
            return Some("hf-python appends the likeliest tokens, and draws none".into());
        }
    }
    request
        .interventions
        .iter()
        .find_map(|edit| match &edit.target {
            Target::Hook(_) => None,
            Target::HookGradient(hook) => {
                Some(format!("hf-python does not edit the gradient at `{hook}`"))
            }
            Target::Weight(weight) => {
                Some(format!("hf-python does not edit the weight `{weight}`"))
            }
        })
}

fn is_shown(quantity: &Quantity, request: &TraceRequest) -> bool {
    match quantity {
        Quantity::Logits | Quantity::LogProbs | Quantity::LossPerToken | Quantity::Loss => {
            request.generate.is_none()
        }
        Quantity::Hook(_) => request.generate.is_none() && request.chunks.is_empty(),
        Quantity::Generated => request.generate.is_some(),
        Quantity::HookGradient(_) | Quantity::ParameterGradient(_) => request.gradients.is_some(),
        Quantity::Weight(_) => false,
    }
}

fn kind(request: &TraceRequest) -> &'static str {
    if request.generate.is_some() {
        "of a generation"
    } else if !request.chunks.is_empty() {
        "of a run in pieces"
    } else {
        "where nothing is differentiated"
    }
}

/// What of `stimuli` can be answered: the questions that are not refused, without the hooks that transformers shows
/// nowhere. What is not there cannot be compared.
pub(crate) fn answerable(
    stimuli: &[Stimulus],
    hooks: &[HookPoint],
    precision: DType,
) -> Vec<Stimulus> {
    let shown: BTreeSet<&str> = hooks
        .iter()
        .filter(|hook| hook.hf_tap.is_some())
        .map(|hook| hook.name.as_str())
        .collect();
    stimuli
        .iter()
        .filter_map(|stimulus| visible(stimulus, &shown))
        .filter(|stimulus| refusal(&stimulus.request, precision).is_none())
        .collect()
}

/// `stimulus` without what is not among the hooks `shown`, if something is left to look at.
fn visible(stimulus: &Stimulus, shown: &BTreeSet<&str>) -> Option<Stimulus> {
    let mut stimulus = stimulus.clone();
    stimulus.request.capture.retain(|quantity| match quantity {
        Quantity::Hook(name) | Quantity::HookGradient(name) => shown.contains(name.as_str()),
        _ => true,
    });
    if stimulus.request.capture.is_empty() {
        return None;
    }
    let is_hidden = |edit: &&Intervention| match &edit.target {
        Target::Hook(name) | Target::HookGradient(name) => !shown.contains(name.as_str()),
        Target::Weight(_) => false,
    };
    let hidden: Vec<&Intervention> = stimulus
        .request
        .interventions
        .iter()
        .filter(is_hidden)
        .collect();
    if hidden.is_empty() {
        return Some(stimulus);
    }
    // An edit of every row leaves none that is as it was meant to be.
    let rows: Option<Vec<&Vec<usize>>> = hidden.iter().map(|edit| edit.rows.as_ref()).collect();
    let dropped = rows?.into_iter().flatten().copied().collect();
    stimulus.request = without_rows(&stimulus.request, &dropped)?;
    Some(stimulus)
}

/// The question about the other rows, if an edit is left, and no operand speaks of all rows.
fn without_rows(request: &TraceRequest, dropped: &BTreeSet<usize>) -> Option<TraceRequest> {
    let kept: Vec<usize> = (0..request.shape()[0])
        .filter(|row| !dropped.contains(row))
        .collect();
    let renumbered = |row: &usize| kept.binary_search(row).ok();
    let edit = |edit: &Intervention| {
        let rows = match &edit.rows {
            Some(rows) => {
                let rows: Vec<usize> = rows.iter().filter_map(renumbered).collect();
                // None of its rows is there any more.
                if rows.is_empty() {
                    return None;
                }
                Some(rows)
            }
            None => None,
        };
        Some(Intervention {
            rows,
            ..edit.clone()
        })
    };
    let interventions: Vec<Intervention> = request.interventions.iter().filter_map(edit).collect();
    let takes_operand =
        |edit: &Intervention| matches!(edit.action, Action::Add { .. } | Action::Replace { .. });
    if interventions.is_empty() || interventions.iter().any(takes_operand) {
        return None;
    }
    let inputs = request.inputs.iter();
    let inputs: Option<TensorMap> = inputs
        .map(|(name, tensor)| Some((name.clone(), rows_of(tensor, &kept)?)))
        .collect();
    Some(TraceRequest {
        inputs: inputs?,
        interventions,
        ..request.clone()
    })
}

/// These rows of a tensor of integers.
fn rows_of(tensor: &Tensor, rows: &[usize]) -> Option<Tensor> {
    let (&[_, width], values) = (tensor.shape(), tensor.as_slice::<i64>()?) else {
        return None;
    };
    let chosen = rows
        .iter()
        .map(|row| values.get(row * width..(row + 1) * width));
    let values: Vec<&[i64]> = chosen.collect::<Option<_>>()?;
    Tensor::from_vec(values.concat(), &[rows.len(), width]).ok()
}

#[cfg(test)]
mod tests;
