//! The questions that a model is looked at with.

mod edges;
mod edits;
mod generation;
mod gradients;
mod pieces;

#[cfg(test)]
pub(crate) use edges::tests as edges_tests;
pub(crate) use edges::{limit, turn};

use tlbench_sdk::{
    HookPoint, ModelSpec, Padding, Parameter, PluginError, Quantity, Stimulus, short_name,
};

/// Lengths of the rows of a padded batch, as shares of the longest.
const BATCH_SHARES: [f64; 3] = [1.0, 0.6, 0.25];

/// Tokens of the longest row of a padded batch.
const BATCH_LENGTH: usize = 10;

/// What questions are made of.
pub(crate) struct Material<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) hooks: &'a [HookPoint],
    pub(crate) parameters: &'a [Parameter],
    pub(crate) text: &'a [i64],
    /// What fills up short rows.
    pub(crate) pad: i64,
    /// The tokens that end a text.
    pub(crate) stop_tokens: &'a [usize],
    /// The longest input, where the model's context is longer.
    pub(crate) max_tokens: usize,
}

/// The questions for a model. What benchmarks compare is theirs to choose, by the kind of question:
///
/// - values: of the text in full, and thinner of a single token, the longest context that `max_tokens` allows, every
///   length at which the model changes its behaviour, and a batch with padding on either side;
/// - gradients: of a projection of the logits in full, and thinner of others;
/// - edits of the text, one in each row;
/// - generation from the beginning of the text, and from a padded batch;
/// - runs through the cache, where positions depend on the length, so that the reference's own is the truth.
///
/// # Errors
/// If `text` has no token.
pub(crate) fn stimuli(material: &Material<'_>) -> Result<Vec<Stimulus>, PluginError> {
    if material.text.is_empty() {
        return Err(PluginError::invalid_input(
            "text: expected at least one token, found none",
        ));
    }
    let n_ctx = material.spec.n_ctx.unwrap_or(material.max_tokens);
    let context = n_ctx.min(material.max_tokens).max(1);
    let text = &material.text[..material.text.len().min(context)];
    let material = &Material { text, ..*material };
    let mut list = values(material, context)?;
    list.extend(gradients::stimuli(material)?);
    list.extend(edits::stimuli(material)?);
    list.extend(generation::stimuli(material, context)?);
    list.extend(pieces::stimuli(material, context)?);
    Ok(list)
}

fn values(material: &Material<'_>, context: usize) -> Result<Vec<Stimulus>, PluginError> {
    let (text, pad) = (material.text, material.pad);
    let batch = batch_rows(text, context);
    let long = spread(material.spec.d_vocab, context);
    let row = |id: &str, row: &[i64]| Stimulus::from_rows(id, &[row.to_vec()], Padding::Right, pad);
    let padded = |id, padding| Stimulus::from_rows(id, &batch, padding, pad);
    let rotated = first_rotation(material.hooks);
    let showing = |stimulus: Stimulus, chosen: &dyn Fn(&HookPoint) -> bool| {
        let hooks = material.hooks.iter();
        let hooks = hooks.filter(|hook| hook.gate.is_none() && chosen(hook));
        let hooks = hooks.map(|hook| Quantity::hook(&hook.name));
        stimulus.showing(hooks.chain([Quantity::Logits, Quantity::LossPerToken, Quantity::Loss]))
    };
    let stream = |hook: &HookPoint| short_name(&hook.name) == "hook_resid_post";
    let thin = |hook: &HookPoint| stream(hook) || short_name(&hook.name) == "attn.hook_pattern";
    let thin_and_rotated = |hook: &HookPoint| thin(hook) || rotated == Some(&hook.name);
    let mut list = vec![
        showing(row("text", text)?, &|_| true),
        showing(row("single", &text[..1])?, &thin),
        // Patterns grow with the square of the length.
        showing(row("full_context", &long)?, &stream),
        showing(padded("left_padded", Padding::Left)?, &thin_and_rotated),
        showing(padded("right_padded", Padding::Right)?, &thin),
    ];
    for length in edges::lengths(material.spec, context) {
        let id = format!("length_{length}");
        list.push(showing(row(&id, &long[..length])?, &stream));
    }
    Ok(list)
}

/// The first keys that are rotated. Where positions count padding, they are all that moves: scores go by distances.
fn first_rotation(hooks: &[HookPoint]) -> Option<&String> {
    let names = hooks.iter().map(|hook| &hook.name);
    let mut rotated = names.filter(|name| short_name(name) == "attn.hook_rot_k");
    rotated.next()
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
    use serde_json::json;
    use tlbench_sdk::hooks;

    use super::*;

    /// Of a model without layers.
    fn questions(text: &[i64], n_ctx: usize) -> Vec<Stimulus> {
        questions_about(text, n_ctx, vec![9, 2])
    }

    /// The same, where the embedding is said to be of that shape.
    fn questions_about(text: &[i64], n_ctx: usize, shape: Vec<usize>) -> Vec<Stimulus> {
        let tokens = json!({"names": ["wte.weight"], "shape": [9, 2]});
        let spec: ModelSpec = serde_json::from_value(json!({
            "architecture": "Bigram",
            "d_model": 2,
            "d_vocab": 9,
            "n_ctx": n_ctx,
            "embedding": {"tokens": tokens, "module": null},
            "layers": [],
            "final_norm": null,
            "unembed": {"projection": {"weight": tokens, "bias": null, "tap": null}, "d_vocab_out": 9},
        }))
        .unwrap();
        let parameters = [Parameter {
            name: "wte.weight".to_owned(),
            shape,
        }];
        let material = Material {
            spec: &spec,
            hooks: &hooks(&spec),
            parameters: &parameters,
            text,
            pad: 0,
            stop_tokens: &[8],
            max_tokens: 256,
        };
        stimuli(&material).unwrap()
    }

    #[test]
    fn every_kind_of_question_is_asked() {
        let lines = questions(&[1, 2, 3, 4, 5, 6, 7], 12)
            .into_iter()
            .map(|stimulus| {
                let request = serde_json::to_string(&stimulus.request).unwrap();
                format!("{} {:?}: {request}", stimulus.id, stimulus.request.shape())
            });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_large_model_is_asked_about_fewer_tokens() {
        let sizes = [vec![16, 1 << 20], vec![17, 1 << 20]].map(|shape| {
            let questions = questions_about(&[1, 2, 3, 4, 5, 6, 7], 30, shape);
            let named = |id: &str| {
                let found = questions.iter().find(|stimulus| stimulus.id == id);
                &found.unwrap().request
            };
            let generate = |id: &str| named(id).generate.as_ref().unwrap().max_new_tokens;
            let generated = ["generation", "generation_padded"].map(generate);
            (named("edits_1").shape()[1], generated)
        });
        assert_eq!(sizes, [(7, [16, 8]), (5, [4, 3])]);
    }

    #[test]
    fn a_large_model_is_differentiated_by_two_scalars() {
        let differentiated = [vec![16, 1 << 20], vec![17, 1 << 20]].map(|shape| {
            let questions = questions_about(&[1, 2, 3, 4, 5, 6, 7], 30, shape);
            let questions = questions.into_iter();
            let gradients = questions.filter(|stimulus| stimulus.request.gradients.is_some());
            gradients.map(|stimulus| stimulus.id).collect::<Vec<_>>()
        });
        assert_eq!(
            differentiated,
            [
                vec![
                    "text_projection",
                    "text_loss",
                    "text_logit_difference",
                    "left_padded_projection"
                ],
                vec!["text_projection", "left_padded_loss"]
            ]
        );
    }

    #[test]
    fn a_context_of_one_token_has_no_room_for_generation() {
        let ids: Vec<String> = questions(&[1, 2], 1)
            .into_iter()
            .map(|stimulus| stimulus.id)
            .collect();
        assert!(
            ids.iter().all(|id| !id.starts_with("generation")),
            "{ids:?}"
        );
    }

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
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [10, 6, 3]);
        assert_eq!(rows[1][..3], [2, 3, 4]);
        assert_eq!(batch_rows(&[9], 1), [vec![9], vec![9], vec![9]]);
    }
}
