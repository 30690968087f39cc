//! The settings that all three take: what decides where fixed tolerances do.

use tlbench_sdk::compare::Tolerance;
use tlbench_sdk::{ModelInfo, OptionInfo, PluginError};

/// `atol` and `rtol`, with the defaults of one benchmark.
pub(crate) fn options(default: Tolerance) -> Vec<OptionInfo> {
    let of = |name, value: f64, kind| {
        let description = format!("{kind} tolerance, where fixed tolerances decide");
        OptionInfo::new(name, value, &description).at_least(0.0)
    };
    vec![
        of("atol", default.atol, "absolute"),
        of("rtol", default.rtol, "relative"),
    ]
}

/// What `model` is judged by.
pub(crate) fn tolerance(model: &ModelInfo, default: Tolerance) -> Result<Tolerance, PluginError> {
    let options = model.options(&options(default))?;
    Ok(Tolerance {
        atol: options.number("atol"),
        rtol: options.number("rtol"),
    })
}
