//! `api`, beside the options that every Python has.

use serde::Serialize;
use serde_json::{Map, Value};
use tlbench_sdk::{PluginError, Role};

const API: &str = "api";

/// One of TransformerLens's two ways to have a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Api {
    /// `HookedTransformer`, which releases below 4 have.
    Hooked,
    /// `TransformerBridge`.
    Bridge,
}

impl Api {
    const ALL: [(&str, Self); 2] = [("hooked", Self::Hooked), ("bridge", Self::Bridge)];

    /// What is best for a role, best first. HookedTransformer computes everything by itself, and so is the better
    /// reference; what has to prove itself is the bridge.
    const fn best_for(role: Role) -> [Self; 2] {
        match role {
            Role::Reference => [Self::Hooked, Self::Bridge],
            Role::Subject | Role::ExactSubject => [Self::Bridge, Self::Hooked],
        }
    }
}

/// What is to be tried, best first, and what is left for the Python.
pub(crate) fn split(
    options: &Map<String, Value>,
    role: Role,
) -> Result<(Vec<Api>, Map<String, Value>), PluginError> {
    let mut rest = options.clone();
    let Some(chosen) = rest.remove(API) else {
        return Ok((Api::best_for(role).into(), rest));
    };
    let mut known = Api::ALL.into_iter();
    match known.find(|(name, _)| chosen == *name) {
        Some((_, api)) => Ok((vec![api], rest)),
        None => Err(PluginError::invalid_input(format!(
            "the option `{API}` of transformer-lens is \"hooked\" or \"bridge\", not {chosen}"
        ))),
    }
}
