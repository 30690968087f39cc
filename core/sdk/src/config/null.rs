//! Keys that are `null`.

use super::{ConfigError, ConfigReader};

impl ConfigReader {
    /// What `read` finds, or nothing where `key` is `null`, which HF's default does not replace: it stands for a part
    /// that the model does not have (`sliding_window`, `attn_logit_softcapping`).
    ///
    /// # Errors
    /// Those of `read`.
    pub fn unless_null<T>(
        &self,
        key: &str,
        read: impl FnOnce(&[&str]) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        let value = read(&[key])?;
        Ok((!self.is_null(key)).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_not_the_default() {
        let config = json!({"null": null, "given": 3.0});
        let reader = ConfigReader::new(config.as_object().cloned().unwrap_or_default());
        let cap = |key| reader.unless_null(key, |names| reader.number_or(names, 50.0));
        assert_eq!(cap("null"), Ok(None));
        assert_eq!(cap("given"), Ok(Some(3.0)));
        assert_eq!(cap("absent"), Ok(Some(50.0)));
    }
}
