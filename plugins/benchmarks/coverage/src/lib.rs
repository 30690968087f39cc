//! What can be told before anything is multiplied: what of config and checkpoint is used, and the tables that attention and
//! routers go by.
//!
//! * `config_coverage`: every key of `config.json` was read, or is known to change nothing.
//! * `checkpoint_coverage`: every stored tensor is taken, or is one that HF ignores as well.
//! * `rotary_frequencies`: queries and keys are turned at the rates that HF's formula gives for the spec.
//! * `alibi_slopes`: scores grow with the key's position by the slopes of the spec.
//! * `mask_rows`: each query sees the keys that it sees in the reference.
//! * `router_choices`: each token goes to the experts that it goes to in the reference.

mod alibi;
mod between;
mod checkpoint_coverage;
mod checks;
mod config_coverage;
mod hf_keys;
mod layers;
mod mask_rows;
mod rotary;
mod router_choices;
mod sight;
mod table;

#[cfg(test)]
mod tests;

tlbench_sdk::plugin! {
    benchmarks: [
        config_coverage::ConfigCoverage,
        checkpoint_coverage::CheckpointCoverage,
        rotary::RotaryFrequencies,
        alibi::AlibiSlopes,
        mask_rows::MaskRows,
        router_choices::RouterChoices,
    ],
}

/// The module that all belong to.
const MODULE: &str = "coverage";

/// The first few of `names`, and how many there are more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
