//! Which Python, and how long to wait for it.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Map, Value};
use tlbench_sdk::PluginError;

const PYTHON: &str = "python";
const TIMEOUT: &str = "timeout";
const DEFAULT_PYTHON: &str = "python3";

/// The longest that a step may take by itself: the derivatives of a large model, or an import from a slow disk.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The settings of a reference.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    /// The interpreter: a path, or a name to look for.
    pub(crate) python: OsString,
    /// How long it may say nothing while it has something to do.
    pub(crate) timeout: Duration,
}

impl Options {
    /// From the config of `reference`, where an option comes before the environment, and that before the default.
    pub(crate) fn read(
        reference: &str,
        options: &Map<String, Value>,
        environment: Option<OsString>,
    ) -> Result<Self, PluginError> {
        if let Some(unknown) = options
            .keys()
            .find(|key| ![PYTHON, TIMEOUT].contains(&key.as_str()))
        {
            return Err(PluginError::invalid_input(format!(
                "{reference} has no option `{unknown}`; it has `{PYTHON}` and `{TIMEOUT}`"
            )));
        }
        let wrong = |option, expected, found: &Value| {
            PluginError::invalid_input(format!(
                "the option `{option}` of {reference} is {expected}, not {found}"
            ))
        };
        let python = options.get(PYTHON).map(|given| {
            python(given).ok_or_else(|| wrong(PYTHON, "the path of an interpreter", given))
        });
        let python = python.transpose()?;
        let python = python.or_else(|| environment.filter(|python| !python.is_empty()));
        let timeout = options.get(TIMEOUT).map(|given| {
            timeout(given).ok_or_else(|| wrong(TIMEOUT, "a number of seconds above 0", given))
        });
        let timeout = timeout.transpose()?;
        Ok(Self {
            python: python.unwrap_or_else(|| DEFAULT_PYTHON.into()),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        })
    }
}

fn python(value: &Value) -> Option<OsString> {
    value
        .as_str()
        .filter(|path| !path.is_empty())
        .map(OsString::from)
}

fn timeout(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().filter(|seconds| *seconds > 0.0)?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: Value, environment: Option<&str>) -> Result<Options, String> {
        let Value::Object(options) = options else {
            unreachable!()
        };
        Options::read("hf-python", &options, environment.map(OsString::from))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_option_beats_the_environment_beats_the_default() {
        let python = |options, environment| read(options, environment).unwrap().python;
        assert_eq!(python(json!({"python": "/a"}), Some("/b")), "/a");
        assert_eq!(python(json!({}), Some("/b")), "/b");
        assert_eq!(python(json!({}), Some("")), "python3");
        assert_eq!(python(json!({}), None), "python3");
    }

    #[test]
    fn a_timeout_is_in_seconds() {
        let timeout = |options| read(options, None).unwrap().timeout;
        assert_eq!(timeout(json!({})), Duration::from_secs(600));
        assert_eq!(timeout(json!({"timeout": 3600})), Duration::from_secs(3600));
        assert_eq!(timeout(json!({"timeout": 0.5})), Duration::from_millis(500));
    }

    #[test]
    fn other_options_and_values_are_refused() {
        for (options, expected) in [
            (
                json!({"pyhton": "/a"}),
                "hf-python has no option `pyhton`; it has `python` and `timeout`",
            ),
            (
                json!({"python": 3}),
                "the option `python` of hf-python is the path of an interpreter, not 3",
            ),
            (
                json!({"python": ""}),
                "the option `python` of hf-python is the path of an interpreter, not \"\"",
            ),
            (
                json!({"timeout": 0}),
                "the option `timeout` of hf-python is a number of seconds above 0, not 0",
            ),
            (
                json!({"timeout": "1h"}),
                "the option `timeout` of hf-python is a number of seconds above 0, not \"1h\"",
            ),
            (
                json!({"timeout": 1e30}),
                "the option `timeout` of hf-python is a number of seconds above 0, not 1e+30",
            ),
        ] {
            assert_eq!(read(options, None).unwrap_err(), expected);
        }
    }
}
