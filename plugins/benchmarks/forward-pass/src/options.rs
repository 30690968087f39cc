//! The settings that these benchmarks take.

use serde::Deserialize;
use serde_json::{Map, Value};
use tlbench_sdk::PluginError;
use tlbench_sdk::compare::Tolerance;

/// `options = { atol = .., rtol = .. }`, for judging by tolerance.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    atol: Option<f64>,
    rtol: Option<f64>,
}

/// The tolerance from `options`, or the default of the benchmark.
pub(crate) fn tolerance(
    options: &Map<String, Value>,
    default: Tolerance,
) -> Result<Tolerance, PluginError> {
    let options: Options =
        serde_json::from_value(Value::Object(options.clone())).map_err(|error| {
            PluginError::invalid_input(format!("options: {error}; known are `atol` and `rtol`"))
        })?;
    let tolerance = Tolerance {
        atol: options.atol.unwrap_or(default.atol),
        rtol: options.rtol.unwrap_or(default.rtol),
    };
    for (name, value) in [("atol", tolerance.atol), ("rtol", tolerance.rtol)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(PluginError::invalid_input(format!(
                "options: `{name}`: expected a number from 0 on, found {value}"
            )));
        }
    }
    Ok(tolerance)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: Value) -> Result<Tolerance, String> {
        let Value::Object(options) = options else {
            panic!("an object")
        };
        tolerance(
            &options,
            Tolerance {
                atol: 1e-3,
                rtol: 3e-2,
            },
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_and_overrides() {
        assert_eq!(
            read(json!({})),
            Ok(Tolerance {
                atol: 1e-3,
                rtol: 3e-2
            })
        );
        assert_eq!(
            read(json!({"atol": 0.5})),
            Ok(Tolerance {
                atol: 0.5,
                rtol: 3e-2
            })
        );
        assert!(
            read(json!({"atoll": 0.5}))
                .unwrap_err()
                .contains("unknown field `atoll`")
        );
        assert_eq!(
            read(json!({"rtol": -1})).unwrap_err(),
            "options: `rtol`: expected a number from 0 on, found -1"
        );
    }
}
