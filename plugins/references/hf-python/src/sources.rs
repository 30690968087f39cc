//! What the worker is made of; it travels inside the plugin, so that the two cannot be out of step.

/// What the interpreter is given.
pub(crate) const BOOTSTRAP: &str = include_str!("worker/bootstrap.py");

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("worker/", $name, ".py")))),*]
    };
}

/// The worker's modules, which the bootstrap imports from the first frame.
pub(crate) const MODULES: [(&str, &str); 21] = modules![
    "altered",
    "asking",
    "attention",
    "cached",
    "channel",
    "checks",
    "edits",
    "installed",
    "loading",
    "main",
    "measure",
    "noise",
    "norms",
    "objective",
    "parameters",
    "plain",
    "precision",
    "protocol",
    "record",
    "stimulus",
    "taps",
];
