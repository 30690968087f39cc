//! A folder, as Python is told of it.

use std::path::Path;

use tlbench_sdk::PluginError;

/// The path of `folder` from the root on, which means the same wherever Python works.
///
/// # Errors
/// If it cannot be told, or is no UTF-8.
pub fn absolute(folder: &Path) -> Result<String, PluginError> {
    let absolute = std::path::absolute(folder).map_err(|error| {
        PluginError::io(format!(
            "cannot tell where {} is: {error}",
            folder.display()
        ))
    })?;
    absolute.to_str().map(str::to_owned).ok_or_else(|| {
        PluginError::invalid_input(format!(
            "{} is no UTF-8, which Python is told in",
            folder.display()
        ))
    })
}
