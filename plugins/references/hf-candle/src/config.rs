//! A `config.json` as candle-transformers reads it: in the spelling of transformers before release 5.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A config in the older spelling.
#[derive(Debug)]
pub(crate) struct Config {
    model_type: String,
    keys: Map<String, Value>,
}

impl Config {
    /// What the ports read of `config`; only the spelling is changed.
    pub(crate) fn new(config: &Map<String, Value>) -> Result<Self> {
        let mut keys = config.clone();
        if let Some(Value::Object(rope)) = keys.remove("rope_parameters") {
            spell_rope(&mut keys, &rope);
        }
        spell_windows(&mut keys)?;
        if let Some(count) = keys.get("num_local_experts").cloned() {
            // Qwen's port knows the older name alone.
            keys.entry("num_experts").or_insert(count);
        }
        let model_type = keys.get("model_type").and_then(Value::as_str);
        Ok(Self {
            model_type: model_type.unwrap_or_default().to_owned(),
            keys,
        })
    }

    pub(crate) fn model_type(&self) -> &str {
        &self.model_type
    }

    /// As a port's own reader reads it.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let value = Value::Object(self.keys.clone());
        serde_json::from_value(value).map_err(|source| Error::Config {
            model_type: self.model_type.clone(),
            source,
        })
    }
}

/// `rope_parameters`, of the model or by type of layer, as `rope_theta`, `rope_scaling` and `rope_local_base_freq`.
fn spell_rope(keys: &mut Map<String, Value>, rope: &Map<String, Value>) {
    let of_type = |name: &str| rope.get(name).and_then(Value::as_object);
    if let Some(local) = of_type("sliding_attention").and_then(|rope| rope.get("rope_theta")) {
        keys.insert("rope_local_base_freq".to_owned(), local.clone());
    }
    let rope = of_type("full_attention").unwrap_or(rope);
    if let Some(theta) = rope.get("rope_theta") {
        keys.insert("rope_theta".to_owned(), theta.clone());
    }
    let kind = rope.get("rope_type").and_then(Value::as_str);
    if kind.is_some_and(|kind| kind != "default") {
        let mut scaling = rope.clone();
        scaling.remove("rope_theta");
        keys.insert("rope_scaling".to_owned(), Value::Object(scaling));
    }
}

/// `layer_types` as the pattern that Gemma-3's port counts by, and what ports ask for and configs do not say.
fn spell_windows(keys: &mut Map<String, Value>) -> Result<()> {
    if keys.get("use_sliding_window") == Some(&Value::Bool(false))
        && keys.get("sliding_window").is_none_or(Value::is_null)
    {
        // Qwen's ports ask for a window also where they use none.
        keys.insert("sliding_window".to_owned(), Value::from(0));
        keys.entry("max_window_layers").or_insert(Value::from(0));
    }
    keys.entry("use_flash_attn").or_insert(Value::Bool(false));
    let is_gemma3 = keys.contains_key("rope_local_base_freq");
    let Some(Value::Array(types)) = keys.get("layer_types").filter(|_| is_gemma3) else {
        return Ok(());
    };
    let is_full = |kind: &Value| kind.as_str() == Some("full_attention");
    let pattern = types.iter().position(is_full).unwrap_or(types.len()) + 1;
    let by_pattern = |index: usize| (index + 1).is_multiple_of(pattern);
    if let Some(odd) = (0..types.len()).find(|&index| is_full(&types[index]) != by_pattern(index)) {
        return Err(Error::Inexpressible {
            key: "layer_types",
            expected: "full attention in every n-th layer",
            found: format!("{} in layer {odd}", types[odd]),
        });
    }
    keys.insert("sliding_window_pattern".to_owned(), Value::from(pattern));
    Ok(())
}
