//! The lengths at which a model changes its behaviour.

use std::collections::BTreeSet;

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{Mask, PositionSpec, RotaryScaling};

/// Lengths from 2 on, below `context`, around the end of every window and chunk, and around the length from which
/// positions are encoded differently.
pub(super) fn lengths(spec: &ModelSpec, context: usize) -> BTreeSet<usize> {
    let attentions = spec.layers.iter().filter_map(|layer| layer.attn.as_ref());
    attentions
        .flat_map(|branch| {
            let of_mask = limit(branch.body.mask).map(|limit| limit.saturating_sub(1)..=limit + 2);
            let of_positions = turn(&branch.body.position).map(|turn| turn..=turn + 1);
            of_mask.into_iter().chain(of_positions).flatten()
        })
        .filter(|length| (2..context).contains(length))
        .collect()
}

/// How many keys a query sees at most.
pub(crate) fn limit(mask: Mask) -> Option<usize> {
    match mask {
        Mask::Band { back, .. } => Some(back?.saturating_add(1)),
        Mask::Chunked { size } => Some(size),
    }
}

/// The longest sequence whose positions are encoded as those of every shorter one are.
pub(crate) fn turn(position: &PositionSpec) -> Option<usize> {
    let PositionSpec::Rotary(rotary) = position else {
        return None;
    };
    match rotary.scaling {
        RotaryScaling::Dynamic { original_n_ctx, .. }
        | RotaryScaling::LongRope { original_n_ctx, .. } => Some(original_n_ctx),
        RotaryScaling::None
        | RotaryScaling::Linear { .. }
        | RotaryScaling::Yarn { .. }
        | RotaryScaling::Llama3 { .. } => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn spec(layers: &[(Value, Value)]) -> ModelSpec {
        let projection =
            json!({"weight": {"names": ["w"], "shape": [2, 2]}, "bias": null, "tap": null});
        let layer = |(mask, position): &(Value, Value)| {
            let body = json!({
                "n_heads": 1, "n_kv_heads": 1, "d_head": 2,
                "q": projection, "k": projection, "v": projection, "o": projection,
                "position": position, "scale": 1.0, "mask": mask, "module": null, "port": "opaque",
            });
            json!({"wiring": "sequential", "attn": {"input": "stream", "body": body}, "mlp": null, "module": null})
        };
        serde_json::from_value(json!({
            "architecture": "Windowed",
            "d_model": 2,
            "d_vocab": 2,
            "n_ctx": null,
            "embedding": {"tokens": {"names": ["w"], "shape": [2, 2]}, "module": null},
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
            "final_norm": null,
            "unembed": {"projection": projection, "d_vocab_out": 2},
        }))
        .unwrap()
    }

    pub(crate) fn rotary(scaling: &Value) -> Value {
        json!({"rotary": {"dim": 2, "pairing": "half", "theta": 1e4, "scaling": scaling}})
    }

    #[test]
    fn around_every_window_and_chunk() {
        let window = (json!({"band": {"back": 6, "ahead": 0}}), json!("none"));
        let chunk = (json!({"chunked": {"size": 3}}), json!("none"));
        let causal = (json!({"band": {"back": null, "ahead": 0}}), json!("none"));
        let found = lengths(&spec(&[window, chunk, causal]), 48);
        assert_eq!(Vec::from_iter(found), [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn around_the_length_from_which_positions_are_encoded_differently() {
        let causal = json!({"band": {"back": null, "ahead": 0}});
        let dynamic = rotary(&json!({"dynamic": {"factor": 2.0, "original_n_ctx": 16}}));
        let linear = rotary(&json!({"linear": {"factor": 2.0}}));
        let found = lengths(&spec(&[(causal.clone(), dynamic), (causal, linear)]), 48);
        assert_eq!(Vec::from_iter(found), [16, 17]);
    }

    #[test]
    fn never_beyond_the_context() {
        let window = (json!({"band": {"back": 6, "ahead": 0}}), json!("none"));
        let found = lengths(&spec(&[window]), 8);
        assert_eq!(Vec::from_iter(found), [6, 7]);
    }
}
