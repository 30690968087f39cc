//! What identifies a model: two digests, so that a recording of other weights is noticed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::CheckpointError;
use crate::weights::Weights;

/// Keys that say who wrote the config and whence, not what the model is.
const NOT_PART_OF_THE_MODEL: [&str; 2] = ["transformers_version", "_name_or_path"];

/// The SHA-256 of a config in canonical form: keys sorted, without white space, and without the version of
/// transformers and the path that `save_pretrained` notes in it.
pub fn config_digest(config: &Map<String, Value>) -> String {
    let mut hasher = Sha256::new();
    hasher.update(canonical_object(config));
    in_words(hasher)
}

/// The SHA-256 over name, element type, shape and bytes of every tensor, sorted by name. What else is in the file,
/// and the order of the tensors in it, does not count.
///
/// # Errors
/// If the file cannot be read.
pub fn weights_digest(weights: &Weights) -> Result<String, CheckpointError> {
    let mut hasher = Sha256::new();
    for name in weights.names() {
        // One line of JSON says how many bytes follow, so that no two lists of tensors look the same.
        let line = json!([name, weights.stored_type(name)?, weights.shape(name)?]).to_string();
        hasher.update(line);
        hasher.update(b"\n");
        weights.for_each_chunk(name, |bytes| hasher.update(bytes))?;
    }
    Ok(in_words(hasher))
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => canonical_object(map),
        Value::Array(values) => format!(
            "[{}]",
            values.iter().map(canonical).collect::<Vec<_>>().join(",")
        ),
        // A fraction has many spellings, and which one is printed is up to the JSON library.
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .map_or_else(String::new, |value| format!("{value:e}")),
        scalar => scalar.to_string(),
    }
}

/// Sorted here, because whether `Map` is sorted depends on a feature that any crate in the build can switch.
fn canonical_object(map: &Map<String, Value>) -> String {
    let sorted: BTreeMap<&String, &Value> = map
        .iter()
        .filter(|(key, _)| !NOT_PART_OF_THE_MODEL.contains(&key.as_str()))
        .collect();
    let entries: Vec<String> = sorted
        .into_iter()
        .map(|(key, value)| format!("{}:{}", json!(key), canonical(value)))
        .collect();
    format!("{{{}}}", entries.join(","))
}

fn in_words(hasher: Sha256) -> String {
    hasher
        .finalize()
        .iter()
        .fold(String::from("sha256:"), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(config: &Value) -> String {
        let Value::Object(map) = config else {
            panic!("an object")
        };
        config_digest(map)
    }

    #[test]
    fn the_digest_of_a_config_is_that_of_its_canonical_text() {
        // printf '{"a":[1,{"x":1e-5,"y":null}],"b":"\\"q\\""}' | sha256sum
        assert_eq!(
            digest(&json!({"b": "\"q\"", "a": [1, {"y": null, "x": 1e-5}]})),
            "sha256:56201c0668a22fc2b936a174ce3844a7d3f624972fcf975ab77ad2815077a2f0"
        );
    }

    #[test]
    fn who_wrote_a_config_does_not_count() {
        let plain = json!({"n_layer": 2, "text_config": {"n_head": 3}});
        let signed = json!({
            "transformers_version": "5.23.0",
            "_name_or_path": "/home/me/model",
            "n_layer": 2,
            "text_config": {"n_head": 3, "transformers_version": "4.0.0"},
        });
        assert_eq!(digest(&plain), digest(&signed));
        assert_ne!(
            digest(&plain),
            digest(&json!({"n_layer": 3, "text_config": {"n_head": 3}}))
        );
    }
}
