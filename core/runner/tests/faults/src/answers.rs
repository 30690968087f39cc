//! Edits of an answer: right values that are shown in a wrong way, or summed up in one.

use tlbench_sdk::{INPUT_IDS, ModelSpec, Quantity, Tensor, Trace, TraceRequest};

use crate::Question;

/// The output of MLPs is shown of the first row, for all rows.
pub(crate) fn first_row_shown(_: &TraceRequest, trace: &mut Trace) {
    for (quantity, value) in &mut trace.values {
        let name = quantity.as_hook().unwrap_or_default();
        if !name.ends_with(".hook_mlp_out") {
            continue;
        }
        let (rows, values) = (value.shape()[0], value.to_f64_vec());
        let first = &values[..values.len() / rows];
        if let Ok(repeated) = Tensor::from_vec(first.repeat(rows), value.shape()) {
            *value = repeated;
        }
    }
}

/// The mean of the losses counts pairs with padding, each of which has a loss of 0.
pub(crate) fn padding_in_the_mean(_: &TraceRequest, trace: &mut Trace) {
    let losses = trace.value(&Quantity::LossPerToken);
    if let Some(losses) = losses.map(Tensor::to_f64_vec) {
        set_mean(trace, &losses);
    }
}

fn set_mean(trace: &mut Trace, losses: &[f64]) {
    if let Some(mean) = trace.values.get_mut(&Quantity::Loss) {
        let sum = losses.iter().sum::<f64>();
        *mean = Tensor::scalar(sum / losses.len().max(1) as f64);
    }
}

/// For [`loss_of_the_token_itself`].
pub(crate) fn log_probs_beside_losses(_: &ModelSpec, question: &mut Question) {
    let capture = &mut question.request.capture;
    if capture.contains(&Quantity::LossPerToken) && !capture.contains(&Quantity::LogProbs) {
        capture.push(Quantity::LogProbs);
    }
}

/// The loss is that of the token at its own position, and not of the next one.
pub(crate) fn loss_of_the_token_itself(request: &TraceRequest, trace: &mut Trace) {
    let ids = request.inputs.get(INPUT_IDS);
    let (Some(ids), Some(log_probs)) = (
        ids.and_then(|ids| ids.as_slice::<i64>()),
        trace.value(&Quantity::LogProbs),
    ) else {
        return;
    };
    let (log_probs, d_vocab) = (log_probs.to_f64_vec(), log_probs.shape()[2]);
    let Some(losses) = trace.values.get_mut(&Quantity::LossPerToken) else {
        return;
    };
    let pairs = losses.shape()[1];
    let own = |pair: usize| {
        let at = pair / pairs * (pairs + 1) + pair % pairs;
        -log_probs[at * d_vocab + ids[at] as usize]
    };
    let own: Vec<f64> = (0..losses.len()).map(own).collect();
    if let Ok(wrong) = Tensor::from_vec(own.clone(), losses.shape()) {
        *losses = wrong;
    }
    set_mean(trace, &own);
}
