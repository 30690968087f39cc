//! What no input of a run reaches, by rule: the lengths from which a spec says that a model behaves differently.
//!
//! `tlbench sensitivity` computes what its inputs show, and is the better witness where it is asked.

use std::collections::BTreeSet;

use tlbench_sdk::spec::Mask;
use tlbench_sdk::{INPUT_IDS, ModelSpec, TensorMap, is_padded};

use crate::stimuli::{limit, turn};

/// In words, each with what the `inputs` have.
pub(crate) fn unreached(spec: &ModelSpec, inputs: &[&TensorMap]) -> Vec<String> {
    let tokens = inputs.iter().filter_map(|one| one.get(INPUT_IDS));
    let longest = tokens.filter_map(|ids| ids.shape().last().copied()).max();
    let longest = longest.unwrap_or(0);
    let beyond = edges(spec).into_iter().filter(|(edge, _)| longest <= *edge);
    let beyond = beyond
        .map(|(edge, what)| format!("{what} of {edge} tokens (the longest input has {longest})"));
    let padding = (!inputs.iter().any(|one| is_padded(one)))
        .then(|| "padding (every row of every input is as long as the others)".to_owned());
    beyond.chain(padding).collect()
}

/// The least length that an input reaches all of it with.
pub(crate) fn reaching(spec: &ModelSpec) -> usize {
    edges(spec).last().map_or(0, |(edge, _)| edge + 1)
}

/// The lengths that an input has to exceed, and what begins there.
fn edges(spec: &ModelSpec) -> BTreeSet<(usize, &'static str)> {
    let attentions = spec.layers.iter().filter_map(|layer| layer.attn.as_ref());
    let edges = attentions.flat_map(|branch| {
        let name = match branch.body.mask {
            Mask::Band { .. } => "the end of the window",
            Mask::Chunked { .. } => "the end of the chunk",
        };
        let of_mask = limit(branch.body.mask).map(|edge| (edge, name));
        let of_positions = turn(&branch.body.position);
        let of_positions = of_positions.map(|edge| (edge, "positions beyond the original context"));
        of_mask.into_iter().chain(of_positions)
    });
    edges.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tlbench_sdk::{Padding, Stimulus};

    use super::*;
    use crate::stimuli::edges_tests::{rotary, spec};

    fn row(length: i64) -> Vec<i64> {
        (0..length).collect()
    }

    fn told(rows: &[Vec<i64>]) -> Vec<String> {
        let window = (json!({"band": {"back": 6, "ahead": 0}}), json!("none"));
        let dynamic = rotary(&json!({"dynamic": {"factor": 2.0, "original_n_ctx": 16}}));
        let causal = (json!({"band": {"back": null, "ahead": 0}}), dynamic);
        let stimulus = Stimulus::from_rows("rows", rows, Padding::Left, 0).unwrap();
        unreached(&spec(&[window, causal]), &[&stimulus.request.inputs])
    }

    #[test]
    fn what_begins_beyond_the_longest_input_is_told() {
        let beyond = "positions beyond the original context of 16 tokens";
        let padding = "padding (every row of every input is as long as the others)".to_owned();
        let cases = [
            (
                vec![row(7)],
                vec![
                    "the end of the window of 7 tokens (the longest input has 7)".to_owned(),
                    format!("{beyond} (the longest input has 7)"),
                    padding.clone(),
                ],
            ),
            (
                vec![row(8)],
                vec![format!("{beyond} (the longest input has 8)"), padding],
            ),
            (vec![row(17), row(3)], Vec::new()),
        ];
        for (rows, expected) in cases {
            assert_eq!(told(&rows), expected);
        }
    }
}
