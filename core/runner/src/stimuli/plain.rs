//! What a model shows when it runs on an input once.

use tlbench_sdk::{HookPoint, Padding, PluginError, Quantity, Stimulus, short_name};

use super::Material;

/// Lengths of the rows of a padded batch, as shares of the longest.
const BATCH_SHARES: [f64; 3] = [1.0, 0.6, 0.25];

/// Tokens of the longest row of a padded batch.
const BATCH_LENGTH: usize = 12;

/// The text, looked at in full, and thinner a single token, the longest context that there is room for, and a batch with
/// padding on either side.
pub(super) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    let context = material.context();
    let text = material.fitting_text();
    let batch = batch_rows(text, context);
    let whole = spread(material.spec.d_vocab, context);
    let right = Padding::Right;
    let inputs: [(&str, &[Vec<i64>], Padding); 5] = [
        ("text", &[text.to_vec()], right),
        ("single", &[text[..1].to_vec()], right),
        ("full_context", &[whole], right),
        ("left_padded", &batch, Padding::Left),
        ("right_padded", &batch, right),
    ];
    let stimuli = inputs.into_iter().map(|(id, rows, padding)| {
        let stimulus = Stimulus::from_rows(id, rows, padding, material.pad_token)?;
        Ok(stimulus.showing(quantities(material.hooks, id)))
    });
    stimuli.collect()
}

/// What is looked at: every hook that fires by default on the text, the stream and the patterns on other inputs, and on
/// the longest one the end of the stream.
fn quantities(hooks: &[HookPoint], id: &str) -> Vec<Quantity> {
    let last = hooks
        .iter()
        .rfind(|hook| short_name(&hook.name) == "hook_resid_post");
    let chosen = |hook: &&HookPoint| match id {
        "text" => hook.gate.is_none(),
        "full_context" => Some(*hook) == last,
        _ => matches!(
            short_name(&hook.name),
            "hook_resid_post" | "attn.hook_pattern"
        ),
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
pub(super) fn batch_rows(text: &[i64], context: usize) -> Vec<Vec<i64>> {
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
