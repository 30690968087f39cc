//! Which keys a query sees, by the keys of most families.

use super::{ConfigError, ConfigReader};
use crate::spec::Mask;

impl ConfigReader {
    /// For a family whose queries see no later keys. HF's mask function asks every config whether that is so.
    ///
    /// # Errors
    /// If the config says otherwise.
    pub fn causal(&self) -> Result<(), ConfigError> {
        if self.flag_or(&["is_causal"], true)? {
            return Ok(());
        }
        Err(self.error(&["is_causal"], "true", "false"))
    }

    /// For a family whose queries see all keys where HF's mask function is told so by `is_causal`, which is no field of the
    /// config class.
    ///
    /// # Errors
    /// If the key holds no truth value.
    pub fn causal_or_all(&self) -> Result<Mask, ConfigError> {
        self.either(&["is_causal"], true, [Mask::CAUSAL, Mask::ALL])
    }

    /// How many positions `sliding_window` lets a query see, or HF's default where the key is absent; `null` is no window.
    ///
    /// # Errors
    /// If the key holds something else.
    pub fn sliding_window(&self, default: Option<usize>) -> Result<Option<usize>, ConfigError> {
        let key = "sliding_window";
        let given = self.optional_size(&[key])?;
        let default = default.filter(|_| !self.is_null(key));
        Ok(given.or(default))
    }

    /// The same for a family that has a window only where `use_sliding_window` says so.
    ///
    /// # Errors
    /// If either key holds something else.
    pub fn sliding_window_in_use(
        &self,
        default: Option<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        let is_used = self.flag_or(&["use_sliding_window"], false)?;
        let window = self.sliding_window(default)?;
        Ok(window.filter(|_| is_used))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reader(config: &Value) -> ConfigReader {
        ConfigReader::new(config.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn a_window_is_as_wide_as_its_key_or_the_default_says_and_null_is_none() {
        let window = |config: Value, default| reader(&config).sliding_window(default);
        assert_eq!(window(json!({}), None), Ok(None));
        assert_eq!(window(json!({}), Some(9)), Ok(Some(9)));
        assert_eq!(window(json!({"sliding_window": 4}), Some(9)), Ok(Some(4)));
        assert_eq!(window(json!({"sliding_window": null}), Some(9)), Ok(None));
    }

    #[test]
    fn a_window_that_has_to_be_asked_for_is_none_otherwise() {
        let window = |used: bool| {
            let config = json!({"sliding_window": 4, "use_sliding_window": used});
            reader(&config).sliding_window_in_use(None)
        };
        assert_eq!([window(true), window(false)], [Ok(Some(4)), Ok(None)]);
        assert_eq!(reader(&json!({})).sliding_window_in_use(Some(9)), Ok(None));
    }

    #[test]
    fn a_family_that_can_see_all_keys_does_where_it_is_told_so() {
        let mask = |config: Value| reader(&config).causal_or_all();
        assert_eq!(mask(json!({})), Ok(Mask::CAUSAL));
        assert_eq!(mask(json!({"is_causal": false})), Ok(Mask::ALL));
    }
}
