//! Which layers look through a window.

use serde_json::Value;

use super::{ConfigError, ConfigReader, shown};
use crate::spec::Mask;

/// What a layer attends to, by HF's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerType {
    /// All that came before (`full_attention`).
    Full,
    /// The latest positions (`sliding_attention`).
    Sliding,
}

impl LayerType {
    const ALL: [Self; 2] = [Self::Full, Self::Sliding];

    /// HF's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full_attention",
            Self::Sliding => "sliding_attention",
        }
    }

    /// Its mask, where the config has a `sliding_window`.
    ///
    /// # Errors
    /// If a window is asked for and there is none.
    pub fn mask(self, window: Option<usize>) -> Result<Mask, ConfigError> {
        match (self, window) {
            (Self::Full, _) => Ok(Mask::CAUSAL),
            (Self::Sliding, Some(window)) => Ok(Mask::sliding(window)),
            (Self::Sliding, None) => {
                let expected = "a window, as there are layers of the type \"sliding_attention\"";
                Err(ConfigError::new("sliding_window", expected, "nothing"))
            }
        }
    }
}

impl ConfigReader {
    /// The type of each layer, by HF's key `layer_types` or else by `default`.
    ///
    /// # Errors
    /// If it is no list of `n_layers` known types.
    pub fn layer_types(
        &self,
        n_layers: usize,
        default: impl Fn(usize) -> LayerType,
    ) -> Result<Vec<LayerType>, ConfigError> {
        let names = &["layer_types"];
        let Some(types) = self.typed(names, "a list", Value::as_array)? else {
            return Ok((0..n_layers).map(default).collect());
        };
        if types.len() != n_layers {
            let expected = format!("as many types as there are layers, {n_layers}");
            return Err(self.error(names, expected, types.len().to_string()));
        }
        types.iter().map(|word| self.layer_type(word)).collect()
    }

    /// Layers by their index, from a list in the config; none where the key is absent.
    ///
    /// # Errors
    /// If it is something else than such a list.
    pub fn layer_list(&self, names: &[&str]) -> Result<Vec<usize>, ConfigError> {
        let index = |layer: &Value| usize::try_from(layer.as_u64()?).ok();
        let list = |value: &Value| value.as_array()?.iter().map(index).collect();
        let found = self.typed(names, "a list of layers", list)?;
        Ok(found.unwrap_or_default())
    }

    fn layer_type(&self, word: &Value) -> Result<LayerType, ConfigError> {
        LayerType::ALL
            .into_iter()
            .find(|kind| word.as_str() == Some(kind.name()))
            .ok_or_else(|| {
                let expected = LayerType::ALL
                    .map(|kind| format!("\"{}\"", kind.name()))
                    .join(" or ");
                self.error(&["layer_types"], expected, shown(word))
            })
    }
}
