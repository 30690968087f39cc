//! Truth values.

use serde_json::Value;

use super::{ConfigError, ConfigReader};

impl ConfigReader {
    /// A truth value, or HF's default where the key is absent.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag_or(&self, names: &[&str], default: bool) -> Result<bool, ConfigError> {
        Ok(self
            .typed(names, "true or false", Value::as_bool)?
            .unwrap_or(default))
    }

    /// What a truth value, or HF's default where the key is absent, stands for: the first of two where it is `true`.
    ///
    /// # Errors
    /// If the key holds something else.
    pub fn either<T>(
        &self,
        names: &[&str],
        default: bool,
        [yes, no]: [T; 2],
    ) -> Result<T, ConfigError> {
        Ok(if self.flag_or(names, default)? {
            yes
        } else {
            no
        })
    }

    /// For a part that no spec has, and that a model has only where `key` is `true`; `why` says what is in its way.
    ///
    /// # Errors
    /// If it is, or if the key holds no truth value.
    pub fn refuse_true(&self, key: &str, why: &str) -> Result<(), ConfigError> {
        if self.flag_or(&[key], false)? {
            return Err(self.error(&[key], format!("false, {why}"), "true"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flag_chooses_one_of_two_or_is_refused() {
        let config = json!({"on": true, "off": false, "wrong": 1});
        let reader = ConfigReader::new(config.as_object().cloned().unwrap_or_default());
        let chosen = |key| reader.either(&[key], true, ["yes", "no"]);
        assert_eq!(
            [chosen("on"), chosen("off"), chosen("absent")],
            [Ok("yes"), Ok("no"), Ok("yes")]
        );
        let refused = |key| reader.refuse_true(key, "as nothing computes it");
        assert_eq!([refused("off"), refused("absent")], [Ok(()), Ok(())]);
        let errors = [
            refused("on").unwrap_err(),
            refused("wrong").unwrap_err(),
            chosen("wrong").unwrap_err(),
        ];
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @r"
        key `on`: expected false, as nothing computes it, found true
        key `wrong`: expected true or false, found 1
        key `wrong`: expected true or false, found 1
        ");
    }
}
