//! The settings of a benchmark or reference: what there is, and what a config says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::PluginError;

/// One setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptionInfo {
    /// Its key.
    pub name: String,
    /// One line: what it decides.
    pub description: String,
    /// What holds where nothing is said; its type is the type of the setting.
    pub default: Value,
    /// For numbers: the smallest that makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
}

impl OptionInfo {
    /// A setting without a bound.
    pub fn new(name: &str, default: impl Into<Value>, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            default: default.into(),
            at_least: None,
        }
    }

    /// The same with a smallest number that makes sense.
    #[must_use]
    pub fn at_least(mut self, bound: f64) -> Self {
        self.at_least = Some(bound);
        self
    }

    fn expected(&self) -> String {
        let kind = match &self.default {
            Value::Bool(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a number",
            Value::Number(_) => "a whole number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) | Value::Null => "a table",
        };
        match self.at_least {
            Some(bound) => format!("{kind} from {bound} on"),
            None => kind.to_owned(),
        }
    }

    fn admits(&self, value: &Value) -> bool {
        let is_of_type = match &self.default {
            Value::Bool(_) => value.is_boolean(),
            Value::Number(number) if number.is_f64() => value.is_number(),
            Value::Number(_) => value.is_i64() || value.is_u64(),
            Value::String(_) => value.is_string(),
            Value::Array(_) => value.is_array(),
            Value::Object(_) | Value::Null => value.is_object(),
        };
        let is_large_enough = match (self.at_least, value.as_f64()) {
            (Some(bound), Some(number)) => number >= bound,
            _ => true,
        };
        is_of_type && is_large_enough
    }
}

/// The settings of one benchmark, with defaults where the config says nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Options(Map<String, Value>);

impl Options {
    /// What `given` says about the settings `known`.
    ///
    /// # Errors
    /// If a key is not known, or a value is not what its setting takes.
    pub fn read(known: &[OptionInfo], given: &Map<String, Value>) -> Result<Self, PluginError> {
        for (name, value) in given {
            let Some(option) = known.iter().find(|option| option.name == *name) else {
                let names: Vec<String> = known
                    .iter()
                    .map(|option| format!("`{}`", option.name))
                    .collect();
                let names = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                return Err(PluginError::invalid_input(format!(
                    "options: unknown key `{name}`; known: {names}"
                )));
            };
            if !option.admits(value) {
                return Err(PluginError::invalid_input(format!(
                    "options: `{name}`: expected {}, found {value}",
                    option.expected()
                )));
            }
        }
        let value = |option: &OptionInfo| {
            let value = given.get(&option.name).unwrap_or(&option.default);
            (option.name.clone(), value.clone())
        };
        Ok(Self(known.iter().map(value).collect()))
    }

    /// A number; NaN if there is no such setting.
    pub fn number(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// A whole number from 0 on; 0 if there is no such setting.
    pub fn count(&self, name: &str) -> usize {
        let count = self.0.get(name).and_then(Value::as_u64).unwrap_or(0);
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(given: Value) -> Result<Options, String> {
        let known = [
            OptionInfo::new("atol", 1e-3, "absolute tolerance").at_least(0.0),
            OptionInfo::new("steps", 8, "how many").at_least(1.0),
        ];
        let Value::Object(given) = given else {
            panic!("an object")
        };
        Options::read(&known, &given).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_and_what_is_given() {
        let options = read(json!({"steps": 3})).unwrap();
        assert_eq!((options.number("atol"), options.count("steps")), (1e-3, 3));
        assert_eq!(read(json!({"atol": 1})).unwrap().number("atol"), 1.0);
    }

    #[test]
    fn what_a_setting_does_not_take() {
        let messages = [
            json!({"atoll": 0.5}),
            json!({"atol": -1.0}),
            json!({"atol": "small"}),
            json!({"steps": 0}),
            json!({"steps": 1.5}),
        ]
        .map(|given| read(given).unwrap_err());
        insta::assert_snapshot!(messages.join("\n"), @r#"
        options: unknown key `atoll`; known: `atol`, `steps`
        options: `atol`: expected a number from 0 on, found -1.0
        options: `atol`: expected a number from 0 on, found "small"
        options: `steps`: expected a whole number from 1 on, found 0
        options: `steps`: expected a whole number from 1 on, found 1.5
        "#);
    }
}
