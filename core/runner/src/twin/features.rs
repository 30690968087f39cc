//! What a spec says apart from sizes.

use serde_json::{Map, Value, json};
use tlbench_sdk::ModelSpec;

use crate::inspect::without_block;

/// Fields that hold sizes, or what follows from them.
const SIZES: [&str; 17] = [
    "attention_factor",
    "cut",
    "d_head",
    "d_mlp",
    "d_model",
    "d_vocab",
    "d_vocab_out",
    "dim",
    "long_factors",
    "n_ctx",
    "n_heads",
    "n_kv_heads",
    "original_n_ctx",
    "shape",
    "short_factors",
    "slopes",
    "steps",
];

/// Fields of which it matters alone that they limit something.
const LIMITS: [&str; 2] = ["back", "size"];

/// A spec without sizes: models are of the same features if these are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// All but the layers.
    pub ends: Value,
    /// One per layer, equal where layers are of the same kind.
    pub layers: Vec<Value>,
}

/// The first place where features differ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) place: String,
    pub(super) expected: Value,
    pub(super) found: Value,
}

impl Features {
    /// Those of `spec`.
    pub fn of(spec: &ModelSpec) -> Self {
        let mut ends = json!(spec);
        let layers = ends["layers"].take();
        let layers = layers.as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            layers: layers.iter().map(stripped).collect(),
            ends: stripped(&ends),
        }
    }

    /// Those that a model with the layers `indices` alone has.
    pub fn with_layers(&self, indices: &[usize]) -> Self {
        let layer = |&index: &usize| self.layers.get(index).cloned();
        Self {
            ends: self.ends.clone(),
            layers: indices.iter().filter_map(layer).collect(),
        }
    }

    /// Where `found` is the first to differ.
    pub(super) fn difference(&self, found: &Self) -> Option<Difference> {
        let whole = |features: &Self| json!({"": features.ends, "blocks": features.layers});
        difference(String::new(), &whole(self), &whole(found))
    }
}

fn stripped(value: &Value) -> Value {
    without_sizes(&without_block(value))
}

fn without_sizes(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_sizes).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !is_size(name, value));
            let kept = kept.map(|(name, value)| (name.clone(), feature(name, value)));
            Value::Object(kept.chain(proportions(value)).collect())
        }
        other => other.clone(),
    }
}

/// Whether the field `name` of `whole` is a size.
fn is_size(name: &str, whole: &Value) -> bool {
    match name {
        // Of scores, it follows from the width of a head; of embeddings, it is a table with a `value`.
        "scale" => whole[name].is_number(),
        "value" => whole.get("rounded_to_weights").is_some(),
        _ => SIZES.contains(&name),
    }
}

fn feature(name: &str, value: &Value) -> Value {
    match (name, value) {
        // Experts differ in nothing but their tensors.
        ("experts", Value::Array(experts)) => experts.first().map(without_sizes).into(),
        (_, Value::Number(_)) if LIMITS.contains(&name) => json!("some"),
        _ => without_sizes(value),
    }
}

/// What sizes of an attention have to do with each other.
fn proportions(attention: &Value) -> Map<String, Value> {
    let size = |name: &str| attention[name].as_u64();
    let mut list = Map::new();
    if let (Some(heads), Some(key_heads)) = (size("n_heads"), size("n_kv_heads")) {
        let sharing = match key_heads {
            all if all == heads => "none",
            1 => "all",
            _ => "groups",
        };
        list.insert("heads that share keys".into(), sharing.into());
    }
    let rotated = attention["position"]["rotary"]["dim"].as_u64();
    if let (Some(rotated), Some(width)) = (rotated, size("d_head")) {
        list.insert("heads are rotated whole".into(), (rotated == width).into());
    }
    list
}

fn difference(place: String, expected: &Value, found: &Value) -> Option<Difference> {
    let join = |part: &str| match (place.as_str(), part) {
        (place, "") => place.to_owned(),
        ("", part) => part.to_owned(),
        (place, part) => format!("{place}.{part}"),
    };
    match (expected, found) {
        _ if expected == found => None,
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => a
            .iter()
            .find_map(|(name, value)| difference(join(name), value, &b[name])),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => (0..)
            .zip(a.iter().zip(b))
            .find_map(|(index, (a, b))| difference(join(&format!("{index}")), a, b)),
        _ => Some(Difference {
            place,
            expected: expected.clone(),
            found: found.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(layer: &Value) -> Features {
        Features {
            ends: stripped(&json!({"d_model": 8})),
            layers: vec![stripped(layer)],
        }
    }

    fn attention(heads: [usize; 2], back: &Value) -> Value {
        json!({"body": {
            "n_heads": heads[0], "n_kv_heads": heads[1], "d_head": 4, "scale": 0.5,
            "mask": {"band": {"back": back, "ahead": 0}},
        }})
    }

    #[test]
    fn sizes_are_no_features() {
        let large = features(&attention([32, 8], &json!(4095)));
        assert_eq!(large, features(&attention([6, 2], &json!(6))));
        assert_eq!(large.difference(&large), None);
    }

    #[test]
    fn what_is_another_feature_is_named_by_its_place() {
        let large = features(&attention([32, 8], &json!(4095)));
        let place = |other: &Value| large.difference(&features(other)).unwrap().place;
        assert_eq!(
            place(&attention([6, 2], &Value::Null)),
            "blocks.0.body.mask.band.back"
        );
        assert_eq!(
            place(&attention([6, 6], &json!(6))),
            "blocks.0.body.heads that share keys"
        );
    }
}
