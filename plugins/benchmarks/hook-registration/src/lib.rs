//! Are the hooks what they say they are?
//!
//! * `hook_registry`: every hook fires, in its shape and its place, and none that the reference knows is missing.
//! * `forward_hooks`, `critical_forward_hooks`: their values, cumulatively and locally.
//! * `hook_functionality`: an edit at a hook has the effect that it has in the reference.
//! * `gated_hooks_fire`: the hooks that fire on demand, and what they have to sum to.
//! * `hooks_removed`: after an edited run, a plain one is what it was before.

mod edits;
mod firing;
mod forward_hooks;
mod functionality;
mod gated;
mod identities;
mod order;
mod registry;
mod removed;
#[cfg(test)]
mod tests;

use tlbench_sdk::{ModelInfo, PluginError, Quantity, Stimulus, judge};

tlbench_sdk::plugin! {
    benchmarks: [
        forward_hooks::CriticalForwardHooks,
        forward_hooks::ForwardHooks,
        functionality::HookFunctionality,
        gated::GatedHooksFire,
        registry::HookRegistry,
        removed::HooksRemoved,
    ],
}

/// The module that all belong to.
const MODULE: &str = "hook_registration";

/// The plain input on which most hooks are looked at.
fn richest(model: &ModelInfo) -> Result<&Stimulus, PluginError> {
    judge::richest(model, |quantity| quantity.as_hook().is_some())
}

/// The hooks that fire without being asked for, or those that have to be.
fn hooks(model: &ModelInfo, gated: bool) -> Vec<Quantity> {
    let wanted = model
        .hooks
        .iter()
        .filter(|hook| hook.gate.is_some() == gated);
    wanted.map(|hook| Quantity::hook(&hook.name)).collect()
}

/// The first of several complaints, and how many more there are.
fn first_of<T: AsRef<str>>(complaints: &[T]) -> String {
    match complaints {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first, others @ ..] => format!("{} (and {} more)", first.as_ref(), others.len()),
    }
}
