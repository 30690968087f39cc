//! The inputs that a model is looked at with.

use tlbench_sdk::{HookPoint, ModelSpec, Padding, PluginError, Quantity, Stimulus, short_name};

/// Lengths of the rows of a padded batch, as shares of the longest.
const BATCH_SHARES: [f64; 3] = [1.0, 0.6, 0.25];

/// Tokens of the longest row of a padded batch.
const BATCH_LENGTH: usize = 12;

/// The inputs for a model: the text, looked at in full, and thinner a single token, the longest context that
/// `max_tokens` allows, and a batch with padding on either side.
///
/// # Errors
/// If `text` has no token.
pub(crate) fn stimuli(
    spec: &ModelSpec,
    hooks: &[HookPoint],
    text: &[i64],
    pad_token: i64,
    max_tokens: usize,
) -> Result<Vec<Stimulus>, PluginError> {
    if text.is_empty() {
        return Err(PluginError::invalid_input(
            "text: expected at least one token, found none",
        ));
    }
    let context = spec.n_ctx.unwrap_or(max_tokens).min(max_tokens).max(1);
    let text: Vec<i64> = text.iter().copied().take(context).collect();
    let batch = batch_rows(&text, context);
    let mut list = vec![
        Stimulus::from_rows(
            "text",
            std::slice::from_ref(&text),
            Padding::Right,
            pad_token,
        )?,
        Stimulus::from_rows("single", &[text[..1].to_vec()], Padding::Right, pad_token)?,
        Stimulus::from_rows(
            "full_context",
            &[spread(spec.d_vocab, context)],
            Padding::Right,
            pad_token,
        )?,
        Stimulus::from_rows("left_padded", &batch, Padding::Left, pad_token)?,
        Stimulus::from_rows("right_padded", &batch, Padding::Right, pad_token)?,
    ];
    for (index, stimulus) in list.iter_mut().enumerate() {
        stimulus.request.capture = quantities(hooks, index == 0);
    }
    Ok(list)
}

/// What is looked at: every hook that fires by default, or the stream and the patterns alone.
fn quantities(hooks: &[HookPoint], in_full: bool) -> Vec<Quantity> {
    let chosen = |hook: &&HookPoint| {
        let thin = matches!(
            short_name(&hook.name),
            "hook_resid_post" | "attn.hook_pattern"
        );
        hook.gate.is_none() && (in_full || thin)
    };
    let hooks = hooks
        .iter()
        .filter(chosen)
        .map(|hook| Quantity::hook(&hook.name));
    hooks
        .chain([Quantity::Logits, Quantity::LossPerToken, Quantity::Loss])
        .collect()
}

/// Rows of unequal length, of the text's tokens shifted against each other.
fn batch_rows(text: &[i64], context: usize) -> Vec<Vec<i64>> {
    let longest = BATCH_LENGTH.min(context);
    let row = |(index, share): (usize, &f64)| {
        let length = ((longest as f64 * share).round() as usize).max(1);
        text.iter()
            .copied()
            .cycle()
            .skip(index)
            .take(length)
            .collect()
    };
    BATCH_SHARES.iter().enumerate().map(row).collect()
}

/// `length` tokens from all over the vocabulary, with a repetition every now and then.
fn spread(d_vocab: usize, length: usize) -> Vec<i64> {
    // A stride of the golden ratio meets every region of the vocabulary before it comes back to one.
    let golden = 0.618_033_988_749_895;
    (0..length)
        .map(|index| {
            let step = if index % 7 == 6 { index - 3 } else { index };
            ((step as f64 * golden).fract() * d_vocab as f64) as i64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_and_repeated_tokens() {
        let tokens = spread(331, 48);
        assert!(tokens.iter().all(|token| (0..331).contains(token)));
        assert!(tokens.iter().any(|&token| token > 300));
        assert_eq!(tokens[6], tokens[3]);
    }

    #[test]
    fn the_rows_of_a_batch_differ_in_length_and_content() {
        let rows = batch_rows(&[1, 2, 3, 4, 5], 48);
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [12, 7, 3]);
        assert_eq!(rows[1][..3], [2, 3, 4]);
        assert_eq!(batch_rows(&[9], 1), [vec![9], vec![9], vec![9]]);
    }
}
