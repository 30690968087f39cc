//! What is known about the component at fault.

use crate::benchmark::ModelInfo;
use crate::result::{Divergence, Verdict};
use crate::trace::Quantity;

/// Adds what is known about the component at fault: its spec, config keys and checkpoint tensors.
pub fn explain(verdict: Verdict, model: &ModelInfo, divergence: &Divergence) -> Verdict {
    let Some(component_name) = component_of(model, &divergence.quantity) else {
        return verdict;
    };
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
    let mut verdict = verdict
        .detail("component", component_name)
        .detail("spec", summary(&component.spec));
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

/// The component that makes `quantity`, as far as its name tells.
pub fn component_of(model: &ModelInfo, quantity: &Quantity) -> Option<String> {
    match quantity {
        Quantity::Hook(name) => Some(component_of_hook(model, name)),
        // It comes from what follows the hook.
        Quantity::HookGradient(name) => {
            let place = model.hooks.iter().position(|hook| hook.name == *name)?;
            let next = model.hooks[place + 1..]
                .iter()
                .find(|hook| hook.gate.is_none())?;
            Some(body_of(next.component(), &next.name))
        }
        Quantity::ParameterGradient(name) | Quantity::Weight(name) => owner(model, name),
        Quantity::Logits | Quantity::LogProbs => Some("unembed".into()),
        Quantity::LossPerToken | Quantity::Loss | Quantity::Generated => None,
    }
}

fn component_of_hook(model: &ModelInfo, name: &str) -> String {
    match model.hooks.iter().find(|hook| hook.name == name) {
        Some(hook) => body_of(hook.component(), name),
        None => name
            .rsplit_once('.')
            .map_or(name, |(component, _)| component)
            .to_owned(),
    }
}

/// Who takes the checkpoint tensor, or has the canonical weight, of this name.
fn owner(model: &ModelInfo, name: &str) -> Option<String> {
    let components = model.spec.components();
    let takes = components.iter().find(|component| {
        let sources = component.tensors.iter().map(|(_, source)| source);
        sources
            .flat_map(|source| &source.names)
            .any(|known| known == name)
    });
    let has = || {
        let (component, _) = name.rsplit_once('.')?;
        components.iter().find(|known| known.name == component)
    };
    takes.or_else(has).map(|component| component.name.clone())
}

/// What a branch adds to the stream is made by its body.
fn body_of(component: &str, hook: &str) -> String {
    match hook.rsplit_once('.').map_or(hook, |(_, short)| short) {
        "hook_attn_out" => format!("{component}.attn"),
        "hook_mlp_out" => format!("{component}.mlp"),
        _ => component.to_owned(),
    }
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
