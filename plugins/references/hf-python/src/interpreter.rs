//! Which Python.

use std::ffi::OsString;

use serde_json::{Map, Value};
use tlbench_sdk::PluginError;

const OPTION: &str = "python";
const VARIABLE: &str = "TLBENCH_PYTHON";
const DEFAULT: &str = "python3";

/// How to name another one, for messages.
pub(crate) const HOW_TO_CHOOSE: &str = "name a Python that has torch and transformers in TLBENCH_PYTHON, or as \
                                        `python` among the options of this reference";

/// The option comes first, then the environment, then `python3`.
pub(crate) fn choose(
    options: &Map<String, Value>,
    environment: Option<OsString>,
) -> Result<OsString, PluginError> {
    if let Some(unknown) = options.keys().find(|key| *key != OPTION) {
        return Err(PluginError::invalid_input(format!(
            "hf-python has no option `{unknown}`; it has `{OPTION}`"
        )));
    }
    match options.get(OPTION) {
        Some(Value::String(python)) if !python.is_empty() => Ok(python.into()),
        Some(other) => Err(PluginError::invalid_input(format!(
            "the option `{OPTION}` of hf-python is the path of an interpreter, not {other}"
        ))),
        None => Ok(environment
            .filter(|python| !python.is_empty())
            .unwrap_or_else(|| DEFAULT.into())),
    }
}

/// What the environment names.
pub(crate) fn from_environment() -> Option<OsString> {
    std::env::var_os(VARIABLE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chosen(options: Value, environment: Option<&str>) -> Result<OsString, String> {
        let Value::Object(options) = options else {
            unreachable!()
        };
        choose(&options, environment.map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_option_beats_the_environment_beats_the_default() {
        assert_eq!(chosen(json!({"python": "/a"}), Some("/b")), Ok("/a".into()));
        assert_eq!(chosen(json!({}), Some("/b")), Ok("/b".into()));
        assert_eq!(chosen(json!({}), Some("")), Ok("python3".into()));
        assert_eq!(chosen(json!({}), None), Ok("python3".into()));
    }

    #[test]
    fn other_options_are_refused() {
        let error = chosen(json!({"pyhton": "/a"}), None).unwrap_err();
        assert_eq!(error, "hf-python has no option `pyhton`; it has `python`");
        let error = chosen(json!({"python": 3}), None).unwrap_err();
        assert_eq!(
            error,
            "the option `python` of hf-python is the path of an interpreter, not 3"
        );
    }
}
