//! Edits of a question: what an implementation forgets of it, or adds to it.

use tlbench_sdk::{
    ATTENTION_MASK, INPUT_IDS, ModelSpec, ProcessingStep, Target, Tensor, TensorMap, TraceRequest,
};

use crate::Question;

/// Whether keys and values of earlier positions come from a cache.
pub(crate) fn is_cached(request: &TraceRequest) -> bool {
    let generates = request.generate.as_ref();
    !request.chunks.is_empty() || generates.is_some_and(|generate| generate.use_cache)
}

/// Puts another value in the place of each integer of an input; it is given row, column and value.
fn change(inputs: &mut TensorMap, name: &str, new: impl Fn(usize, usize, i64) -> i64) {
    let Some(tensor) = inputs.get(name) else {
        return;
    };
    let width = tensor.shape().last().copied().unwrap_or(1).max(1);
    let values = tensor.as_slice::<i64>().unwrap_or_default().iter();
    let values = values.enumerate();
    let changed = values.map(|(at, &value)| new(at / width, at % width, value));
    if let Ok(changed) = Tensor::from_vec(changed.collect(), tensor.shape()) {
        inputs.insert(name.to_owned(), changed);
    }
}

/// Padding is attended to where tokens are generated without a cache.
pub(crate) fn mask_lost_without_cache(_: &ModelSpec, question: &mut Question) {
    if question.request.generate.is_some() && !is_cached(&question.request) {
        change(&mut question.request.inputs, ATTENTION_MASK, |_, _, _| 1);
    }
}

/// Where there is no mask, one is made of the tokens: the first of the vocabulary is taken for padding.
pub(crate) fn mask_guessed(_: &ModelSpec, question: &mut Question) {
    let inputs = &mut question.request.inputs;
    if inputs.contains_key(ATTENTION_MASK) {
        return;
    }
    if let Some(ids) = inputs.get(INPUT_IDS).cloned() {
        inputs.insert(ATTENTION_MASK.to_owned(), ids);
        change(inputs, ATTENTION_MASK, |_, _, token| i64::from(token != 0));
    }
}

/// The last of an odd number of keys is hidden, if there are more than eight.
pub(crate) fn odd_key_forgotten(_: &ModelSpec, question: &mut Question) {
    let [_, pos] = question.request.shape();
    if pos > 8 && pos % 2 == 1 {
        let hidden = |_, column, real| if column + 1 == pos { 0 } else { real };
        change(&mut question.request.inputs, ATTENTION_MASK, hidden);
    }
}

/// Every row has the first row's tokens, if none is padded.
pub(crate) fn first_row_repeated(_: &ModelSpec, question: &mut Question) {
    let inputs = &mut question.request.inputs;
    let mask = inputs.get(ATTENTION_MASK);
    let mask = mask.and_then(|mask| mask.as_slice::<i64>());
    if mask.is_some_and(|mask| mask.contains(&0)) {
        return;
    }
    let first = inputs.get(INPUT_IDS).and_then(|ids| ids.row(0));
    if let Some(first) = first.and_then(|row| row.as_slice::<i64>().map(<[i64]>::to_vec)) {
        change(inputs, INPUT_IDS, |_, column, _| first[column]);
    }
}

/// What is edited at one hook is shown there, and goes no further.
pub(crate) fn edit_ignored(_: &ModelSpec, question: &mut Question) {
    let edits = &mut question.request.interventions;
    edits.retain(|edit| edit.target != Target::Hook("blocks.1.attn.hook_k".into()));
}

/// Two hooks are one tensor, which is edited in place: the end of the first block and the beginning of the second.
pub(crate) fn edit_in_place(_: &ModelSpec, question: &mut Question) {
    for edit in &mut question.request.interventions {
        if edit.target == Target::Hook("blocks.1.hook_resid_pre".into()) {
            edit.target = Target::Hook("blocks.0.hook_resid_post".into());
        }
    }
}

/// A token fewer than there is room for.
pub(crate) fn stops_early(_: &ModelSpec, question: &mut Question) {
    if let Some(generate) = &mut question.request.generate {
        generate.max_new_tokens = (generate.max_new_tokens - 1).max(1);
    }
}

/// Edits of weights go to a copy.
pub(crate) fn weight_edit_ignored(_: &ModelSpec, question: &mut Question) {
    let edits = &mut question.request.interventions;
    edits.retain(|edit| !matches!(edit.target, Target::Weight(_)));
}

/// An edit of one head's weight is made in all heads.
pub(crate) fn weight_edit_of_all_heads(_: &ModelSpec, question: &mut Question) {
    for edit in &mut question.request.interventions {
        if let Target::Weight(_) = edit.target {
            edit.rows = None;
        }
    }
}

/// The unembedding is a copy of the embedding, so that edits of what they share do not arrive there.
pub(crate) fn head_copied(spec: &ModelSpec, question: &mut Question) {
    for edit in &mut question.request.interventions {
        match &mut edit.target {
            Target::Weight(name) if spec.embedding.tokens.names.contains(name) => {
                *name = "embed.W_E".to_owned();
            }
            _ => {}
        }
    }
}

/// Where norms are not folded, the first step is taken, and no other.
pub(crate) fn one_step_alone(_: &ModelSpec, question: &mut Question) {
    let processing = &mut question.request.processing;
    if !processing.has(ProcessingStep::FoldLn) {
        *processing = processing.steps().take(1).collect();
    }
}

/// Up to so many hooks are a few.
const FEW: usize = 20;

/// A run in which a few hooks are looked at is fused, and sums in another order.
pub(crate) fn fused_unless_watched(_: &ModelSpec, question: &mut Question) {
    let shown = question.request.capture.iter();
    let hooks = shown
        .filter(|quantity| quantity.as_hook().is_some())
        .count();
    if (1..=FEW).contains(&hooks) {
        question.pieces = Some(3);
    }
}
