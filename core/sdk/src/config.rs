//! Reading `config.json`, key by key, so that nobody can forget one unnoticed.

mod activation;
mod ends;
mod flag;
mod heads;
mod layer_type;
mod mask;
mod neutral;
mod null;
mod rotary;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::error::PluginError;

pub use heads::{HeadDefaults, HeadWidth};
pub use layer_type::LayerType;
pub use rotary::RotaryKeys;

/// A key that does not hold what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key `{key}`: expected {expected}, found {found}")]
pub struct ConfigError {
    /// The key, or the ones that belong together.
    pub key: String,
    /// In words.
    pub expected: String,
    /// As it stands there, or `nothing`.
    pub found: String,
}

impl ConfigError {
    /// An error at `key`.
    pub fn new(
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

impl From<ConfigError> for PluginError {
    fn from(error: ConfigError) -> Self {
        Self::invalid_input(error.to_string())
    }
}

/// A `config.json` that notes every key asked for.
#[derive(Debug)]
pub struct ConfigReader {
    config: Map<String, Value>,
    /// The key of the config that this is the table of, and a dot.
    within: String,
    /// Shared with the tables inside; their keys stand here as `key.inner`.
    notes: Rc<Notes>,
}

#[derive(Debug)]
struct Notes {
    read: RefCell<BTreeSet<String>>,
    neutral: RefCell<BTreeSet<String>>,
}

impl ConfigReader {
    /// Reads `config`.
    pub fn new(config: Map<String, Value>) -> Self {
        let neutral = neutral::KEYS.iter().map(|&key| key.to_owned()).collect();
        Self {
            config,
            within: String::new(),
            notes: Rc::new(Notes {
                read: RefCell::default(),
                neutral: RefCell::new(neutral),
            }),
        }
    }

    /// The table under the first of `names` that is there. Its errors name `key.inner`, and it notes its keys as that:
    /// once one is asked for, those that are not count as not read.
    ///
    /// # Errors
    /// If it is no table.
    pub fn table(&self, names: &[&str]) -> Result<Option<Self>, ConfigError> {
        let table = self.typed(names, "a table", Value::as_object)?;
        let key = names.iter().find(|&&name| self.config.contains_key(name));
        Ok(table
            .zip(key)
            .map(|(table, key)| self.inner(key, table.clone())))
    }

    fn inner(&self, key: &str, config: Map<String, Value>) -> Self {
        Self {
            config,
            within: format!("{}{key}.", self.within),
            notes: Rc::clone(&self.notes),
        }
    }

    /// Where keys of this table were read as those of `other`, which took them over.
    fn note_what_was_read_of(&self, other: &Self) {
        let mut read = self.notes.read.borrow_mut();
        for key in self.config.keys() {
            if read.contains(&format!("{}{key}", other.within)) {
                read.insert(format!("{}{key}", self.within));
            }
        }
    }

    /// Tensors of a quantised checkpoint are not the weights that a spec speaks of.
    pub(crate) fn refuse_quantised(&self) -> Result<(), ConfigError> {
        self.value(&["quantization_config"])
            .map_or(Ok(()), |found| {
                let expected = "nothing, as quantised weights are not read";
                Err(ConfigError::new(
                    "quantization_config",
                    expected,
                    shown(found),
                ))
            })
    }

    /// The value of the first of `names` that is there; `null` counts as absent, as it does for HF.
    /// The names are spellings of one key (`n_embd`, `hidden_size`).
    pub fn value(&self, names: &[&str]) -> Option<&Value> {
        let noted = names.iter().map(|name| format!("{}{name}", self.within));
        self.notes.read.borrow_mut().extend(noted);
        names
            .iter()
            .find_map(|&name| self.config.get(name))
            .filter(|value| !value.is_null())
    }

    /// Whether `name` is there and `null`, for the few keys where HF tells that from an absent one.
    fn is_null(&self, name: &str) -> bool {
        self.config.get(name).is_some_and(Value::is_null)
    }

    /// A size: a whole number above 0.
    ///
    /// # Errors
    /// If it is absent or something else.
    pub fn size(&self, names: &[&str]) -> Result<usize, ConfigError> {
        self.optional_size(names)?
            .ok_or_else(|| self.error(names, "a whole number above 0", "nothing"))
    }

    /// A size, or HF's default where the key is absent.
    ///
    /// # Errors
    /// If it is something else.
    pub fn size_or(&self, names: &[&str], default: usize) -> Result<usize, ConfigError> {
        Ok(self.optional_size(names)?.unwrap_or(default))
    }

    /// A size, if the key is there.
    ///
    /// # Errors
    /// If it is something else.
    pub fn optional_size(&self, names: &[&str]) -> Result<Option<usize>, ConfigError> {
        self.typed(names, "a whole number above 0", |value| {
            value
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|&n| n > 0)
        })
    }

    /// A whole number that may be 0, or HF's default where the key is absent.
    ///
    /// # Errors
    /// If it is something else.
    pub fn count_or(&self, names: &[&str], default: usize) -> Result<usize, ConfigError> {
        let count = |value: &Value| usize::try_from(value.as_u64()?).ok();
        Ok(self
            .typed(names, "a whole number", count)?
            .unwrap_or(default))
    }

    /// A finite number, or HF's default where the key is absent.
    ///
    /// # Errors
    /// If it is something else.
    pub fn number_or(&self, names: &[&str], default: f64) -> Result<f64, ConfigError> {
        Ok(self.optional_number(names)?.unwrap_or(default))
    }

    /// A finite number, if the key is there.
    ///
    /// # Errors
    /// If it is something else.
    pub fn optional_number(&self, names: &[&str]) -> Result<Option<f64>, ConfigError> {
        self.typed(names, "a finite number", |value| {
            value.as_f64().filter(|n| n.is_finite())
        })
    }

    /// One of a closed set of words, or HF's default where the key is absent.
    ///
    /// # Errors
    /// If it is another word, or no word; the message lists the set.
    pub fn choice_or<T: Clone>(
        &self,
        names: &[&str],
        default: &str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let expected = || {
            let words: Vec<String> = choices
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            format!("one of {}", words.join(", "))
        };
        let word = match self.value(names) {
            None => default,
            Some(Value::String(word)) => word,
            Some(other) => return Err(self.error(names, expected(), shown(other))),
        };
        choices
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, choice)| choice.clone())
            .ok_or_else(|| self.error(names, expected(), format!("\"{word}\"")))
    }

    /// The keys asked for so far, those of tables as `key.inner`.
    pub fn keys_read(&self) -> BTreeSet<String> {
        self.notes.read.borrow().clone()
    }

    /// The keys known to change nothing.
    pub fn keys_neutral(&self) -> BTreeSet<String> {
        self.notes.neutral.borrow().clone()
    }

    /// A number, which HF's formulas need.
    fn number(&self, names: &[&str]) -> Result<f64, ConfigError> {
        self.optional_number(names)?
            .ok_or_else(|| self.error(names, "a finite number", "nothing"))
    }

    fn error(
        &self,
        names: &[&str],
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ConfigError {
        let named: Vec<String> = names
            .iter()
            .map(|name| format!("{}{name}", self.within))
            .collect();
        ConfigError::new(named.join("` or `"), expected, found)
    }

    fn typed<'a, T>(
        &'a self,
        names: &[&str],
        expected: &str,
        parse: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.value(names)
            .map(|value| parse(value).ok_or_else(|| self.error(names, expected, shown(value))))
            .transpose()
    }
}

/// A value for an error message: whole if it is short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        text
    } else {
        format!("{}...", text.chars().take(57).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reader(value: Value) -> ConfigReader {
        let Value::Object(map) = value else {
            panic!("an object")
        };
        ConfigReader::new(map)
    }

    #[test]
    fn spellings_defaults_and_null() {
        let config = reader(json!({"hidden_size": 8, "n_inner": null, "eps": 1e-6}));
        assert_eq!(config.size(&["n_embd", "hidden_size"]), Ok(8));
        assert_eq!(config.optional_size(&["n_inner"]), Ok(None));
        assert_eq!(config.number_or(&["eps"], 1e-5), Ok(1e-6));
        assert_eq!(config.flag_or(&["tie"], true), Ok(true));
        assert!(config.keys_read().contains("n_embd"));
        assert!(config.keys_read().contains("tie"));
    }

    #[test]
    fn errors_name_key_expected_and_found() {
        let config =
            reader(json!({"a": -3, "b": "yes", "c": 1.5, "act": "gleu", "long": "x".repeat(99)}));
        let messages = [
            config.size(&["a"]).unwrap_err(),
            config.size(&["missing", "other"]).unwrap_err(),
            config.flag_or(&["b"], true).unwrap_err(),
            config.size(&["c"]).unwrap_err(),
            config
                .choice_or(&["act"], "gelu", &[("gelu", 1), ("relu", 2)])
                .unwrap_err(),
            config
                .choice_or(&["a"], "gelu", &[("gelu", 1)])
                .unwrap_err(),
            config.size(&["long"]).unwrap_err(),
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(messages.join("\n"), @r#"
        key `a`: expected a whole number above 0, found -3
        key `missing` or `other`: expected a whole number above 0, found nothing
        key `b`: expected true or false, found "yes"
        key `c`: expected a whole number above 0, found 1.5
        key `act`: expected one of "gelu", "relu", found "gleu"
        key `a`: expected one of "gelu", found -3
        key `long`: expected a whole number above 0, found "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
        "#);
    }
}
