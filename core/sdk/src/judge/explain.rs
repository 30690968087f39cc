//! What is known about the component at fault.

use super::at_fault::AtFault;
use crate::benchmark::ModelInfo;
use crate::result::{Divergence, Verdict};

/// Adds what is known about the component that makes a value which is wrong: its spec, config keys and checkpoint tensors.
pub fn explain(verdict: Verdict, model: &ModelInfo, divergence: &Divergence) -> Verdict {
    match AtFault::of(model, &divergence.quantity, |_| false) {
        Some(at_fault) => explain_component(verdict, model, &at_fault),
        None => verdict,
    }
}

/// Adds what is known about the component at fault.
pub(super) fn explain_component(
    verdict: Verdict,
    model: &ModelInfo,
    at_fault: &AtFault,
) -> Verdict {
    let component_name = at_fault.component(&model.spec);
    let components = model.spec.components();
    let Some(component) = components
        .iter()
        .find(|component| component.name == component_name)
    else {
        let within = format!("{component_name}.");
        let is_block = components.iter().any(|c| c.name.starts_with(&within));
        let what = if is_block {
            "somewhere in this block: the input shows no more of it"
        } else {
            "not in the subject's spec"
        };
        return verdict.detail("component", format!("{component_name} ({what})"));
    };
    let mut verdict = verdict.detail("component", component_name);
    if let Some(because) = &at_fault.because {
        verdict = verdict.detail("because", because);
    }
    verdict = verdict.detail("spec", summary(&component.spec));
    if !component.config_keys.is_empty() {
        verdict = verdict.detail("config keys", component.config_keys.join(", "));
    }
    for (role, source) in &component.tensors {
        let cut = if source.cut.is_empty() {
            String::new()
        } else {
            format!(", cut {:?}", source.cut)
        };
        verdict = verdict.detail(
            format!("tensor {role}"),
            format!("{} {:?}{cut}", source.names.join(" or "), source.shape),
        );
    }
    verdict
}

/// The plain values of a component's spec; what is nested is named elsewhere.
fn summary(spec: &serde_json::Value) -> String {
    let serde_json::Value::Object(fields) = spec else {
        return spec.to_string();
    };
    let body = match fields.iter().next() {
        // An enum with one inner object, such as a dense MLP.
        Some((_, serde_json::Value::Object(inner))) if fields.len() == 1 => inner,
        _ => fields,
    };
    let hidden = ["module", "config_keys", "port"];
    let plain: Vec<String> = body
        .iter()
        .filter(|(name, value)| {
            let nested = value.get("names").is_some()
                || value.get("weight").is_some()
                || value.get("projection").is_some();
            !hidden.contains(&name.as_str())
                && !nested
                && !value.is_null()
                && name.as_str() != "post_tap"
        })
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    plain.join(", ")
}
