//! Inputs that are fed in pieces, for models of which a single run says nothing about them.

use tlbench_sdk::{Padding, PluginError, Quantity, Stimulus};

use super::{Material, batch_rows};

/// The text and a padded batch through the cache, where positions depend on the length.
pub(super) fn stimuli(
    material: &Material<'_>,
    context: usize,
) -> Result<Vec<Stimulus>, PluginError> {
    if !material.spec.positions_depend_on_length() {
        return Ok(Vec::new());
    }
    let text = [material.text.to_vec()];
    let batch = batch_rows(material.text, context);
    let mut list = Vec::new();
    for (id, rows) in [("text", &text[..]), ("left_padded", &batch[..])] {
        let whole = Stimulus::from_rows(id, rows, Padding::Left, material.pad)?;
        let [_, pos] = whole.request.shape();
        for (way, chunks) in ways(pos) {
            let mut stimulus = whole.clone().showing([Quantity::Logits]);
            stimulus.id = format!("{id}_{way}");
            stimulus.request.chunks = chunks;
            list.push(stimulus);
        }
    }
    Ok(list)
}

/// Token by token, as decoding does; a prompt and what follows it; and two halves.
fn ways(pos: usize) -> Vec<(&'static str, Vec<usize>)> {
    if pos < 2 {
        return Vec::new();
    }
    let half = pos / 2;
    let mut ways = vec![("in_steps", vec![1; pos])];
    if pos > 2 {
        let prefilled = [vec![half], vec![1; pos - half]].concat();
        ways.push(("prefilled", prefilled));
        ways.push(("in_halves", vec![half, pos - half]));
    }
    ways
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::edges::tests::{rotary, spec};
    use super::*;

    /// What is asked of a model with such positions.
    fn ids(scaling: &Value) -> Vec<String> {
        let causal = json!({"band": {"back": null, "ahead": 0}});
        let spec = spec(&[(causal, rotary(scaling))]);
        let material = Material {
            spec: &spec,
            hooks: &[],
            parameters: &[],
            text: &[1, 0, 1, 1, 0],
            pad: 0,
            stop_tokens: &[],
            max_tokens: 48,
        };
        let list = stimuli(&material, 48).unwrap();
        list.into_iter().map(|stimulus| stimulus.id).collect()
    }

    #[test]
    fn only_where_positions_depend_on_the_length() {
        assert!(ids(&json!({"linear": {"factor": 2.0}})).is_empty());
        assert_eq!(
            ids(&json!({"dynamic": {"factor": 2.0, "original_n_ctx": 4}})),
            [
                "text_in_steps",
                "text_prefilled",
                "text_in_halves",
                "left_padded_in_steps",
                "left_padded_prefilled",
                "left_padded_in_halves",
            ]
        );
    }

    #[test]
    fn every_way_is_in_pieces_that_add_up() {
        assert!(ways(1).is_empty());
        for pos in 2..12 {
            for (way, chunks) in ways(pos) {
                assert_eq!(chunks.iter().sum::<usize>(), pos, "{way}");
                assert!(
                    chunks.len() > 1 && !chunks.contains(&0),
                    "{way}: {chunks:?}"
                );
            }
        }
    }
}
