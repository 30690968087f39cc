//! What is made of a question that is misunderstood.

use tlbench_sdk::{
    ATTENTION_MASK, Action, Intervention, POSITION_IDS, Quantity, QuestionEdit, Target, Tensor,
    TensorMap, TraceRequest,
};

use super::has;

/// Makes of `request` what is answered in its place.
pub(super) fn misunderstand(edit: &QuestionEdit, request: &mut TraceRequest) {
    match edit {
        QuestionEdit::PaddingAttended(runs) => {
            if has(*runs, request) {
                change(&mut request.inputs, ATTENTION_MASK, |_, _| 1);
            }
        }
        QuestionEdit::PositionsFromOne => {
            change(&mut request.inputs, POSITION_IDS, |_, position| {
                position + 1
            });
        }
        QuestionEdit::PaddingCounted => {
            change(&mut request.inputs, POSITION_IDS, |column, _| column as i64);
        }
        QuestionEdit::PositionsRestart => {
            let starts = piece_starts(&request.chunks);
            change(&mut request.inputs, POSITION_IDS, |column, position| {
                let start = starts.get(column).copied().unwrap_or(0);
                position - start as i64
            });
        }
        QuestionEdit::PositionsRunAhead => {
            let starts = piece_starts(&request.chunks);
            change(&mut request.inputs, POSITION_IDS, |column, position| {
                let is_later = starts.get(column).is_some_and(|&start| start > 0);
                position + i64::from(is_later)
            });
        }
        QuestionEdit::Detached { hooks } => detach(request, hooks),
        QuestionEdit::StepLeftOut(step) => {
            let steps = request.processing.steps();
            request.processing = steps.filter(|other| other != step).collect();
        }
        // Between runs, and not in one.
        QuestionEdit::CacheKept => {}
    }
}

/// Where the piece begins that each column is in.
fn piece_starts(chunks: &[usize]) -> Vec<usize> {
    let mut starts = Vec::new();
    for &len in chunks {
        starts.extend(std::iter::repeat_n(starts.len(), len));
    }
    starts
}

/// Puts another value in the place of each integer of an input; it is given column and value.
fn change(inputs: &mut TensorMap, name: &str, new: impl Fn(usize, i64) -> i64) {
    let Some(tensor) = inputs.get(name) else {
        return;
    };
    let width = tensor.shape().last().copied().unwrap_or(1).max(1);
    let values = tensor.as_slice::<i64>().unwrap_or_default().iter();
    let changed = values
        .enumerate()
        .map(|(at, &value)| new(at % width, value))
        .collect();
    if let Ok(changed) = Tensor::from_vec(changed, tensor.shape()) {
        inputs.insert(name.to_owned(), changed);
    }
}

/// Where something is differentiated, no gradient flows back through `hooks`.
fn detach(request: &mut TraceRequest, hooks: &[String]) {
    let is_gradient = |quantity: &Quantity| {
        matches!(
            quantity,
            Quantity::HookGradient(_) | Quantity::ParameterGradient(_)
        )
    };
    if request.gradients.is_none() || !request.capture.iter().any(is_gradient) {
        return;
    }
    let stops = hooks
        .iter()
        .map(|hook| Intervention::new(Target::HookGradient(hook.clone()), Action::Zero));
    request.interventions.extend(stops);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The positions of a row of five, fed in pieces of 3 and 2, once `edit` was made.
    fn positions(edit: &QuestionEdit) -> Vec<i64> {
        let ids = Tensor::from_vec(vec![0_i64, 1, 2, 3, 4], &[1, 5]).unwrap();
        let mut request = TraceRequest::new([(POSITION_IDS.to_owned(), ids)].into(), Vec::new());
        request.chunks = vec![3, 2];
        misunderstand(edit, &mut request);
        request.inputs[POSITION_IDS]
            .as_slice::<i64>()
            .unwrap()
            .to_vec()
    }

    #[test]
    fn positions_go_wrong_in_the_pieces_that_they_should() {
        for (edit, expected) in [
            (QuestionEdit::PositionsRestart, [0, 1, 2, 0, 1]),
            (QuestionEdit::PositionsRunAhead, [0, 1, 2, 4, 5]),
            (QuestionEdit::PositionsFromOne, [1, 2, 3, 4, 5]),
            (QuestionEdit::CacheKept, [0, 1, 2, 3, 4]),
        ] {
            assert_eq!(positions(&edit), expected, "{edit:?}");
        }
    }
}
