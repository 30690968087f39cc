//! Verdicts in words.

use tlbench_sdk::compare::{Closeness, Gate};
use tlbench_sdk::{Divergence, Evaluation, Measurement, ModelInfo, Quantity, Verdict};

/// An error ratio for a person.
pub(crate) fn ratio_text(ratio: f64) -> String {
    if ratio.is_infinite() {
        "infinite".into()
    } else if ratio >= 1e5 {
        format!("{ratio:.1e}")
    } else if ratio >= 100.0 {
        format!("{ratio:.0}")
    } else {
        format!("{ratio:.2}")
    }
}

/// How an evaluation is called.
pub(crate) fn evaluation_text(evaluation: Evaluation) -> &'static str {
    match evaluation {
        Evaluation::Cumulative => "cumulative",
        Evaluation::Local => "local",
    }
}

/// What fixed tolerances say.
pub(crate) fn tolerance_text(closeness: Closeness) -> String {
    let Closeness {
        tolerance,
        outside,
        elements,
    } = closeness;
    format!(
        "{outside} of {elements} outside atol {:e}, rtol {:e}",
        tolerance.atol, tolerance.rtol
    )
}

/// `message`, with what a run in a narrow precision cannot see: an error inside of its own gate.
pub(crate) fn with_blindness(
    mut message: String,
    model: &ModelInfo,
    measurement: Option<&Measurement>,
) -> String {
    if let Some(m) = measurement.filter(|m| model.dtype.is_narrow() && m.difference.truth_rms > 0.0)
    {
        let gate = Gate::for_rows(m.difference.rows).info * m.floor;
        let share = 100.0 * gate / m.difference.truth_rms;
        let (dtype, quantity) = (model.dtype, &m.quantity);
        message.push_str(&format!(
            "; in {dtype} an error of {share:.1}% of {quantity} goes unnoticed"
        ));
    }
    message
}

/// A quantity without its prefix.
pub(crate) fn quantity_text(quantity: &Quantity) -> String {
    quantity
        .as_hook()
        .map_or_else(|| quantity.to_string(), str::to_owned)
}

/// Adds what is known about the component at fault: its spec, config keys and checkpoint tensors.
pub(crate) fn explain(verdict: Verdict, model: &ModelInfo, divergence: &Divergence) -> Verdict {
    let Some(component_name) = component_name(model, &divergence.quantity) else {
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

/// The error ratio at the end of each block, which tells an error that grows from one that comes at once.
pub(crate) fn by_layer(measurements: &[Measurement]) -> Option<String> {
    let ratios: Vec<String> = measurements
        .iter()
        .filter(|m| m.evaluation == Evaluation::Cumulative)
        .filter(|m| {
            m.quantity
                .as_hook()
                .is_some_and(|name| name.ends_with(".hook_resid_post"))
        })
        .map(|m| ratio_text(m.ratio))
        .collect();
    (!ratios.is_empty()).then(|| ratios.join(", "))
}

fn component_name(model: &ModelInfo, quantity: &Quantity) -> Option<String> {
    match quantity {
        Quantity::Hook(name) => Some(match model.hooks.iter().find(|hook| hook.name == *name) {
            Some(hook) => body_of(hook.component(), name),
            None => name
                .rsplit_once('.')
                .map_or(name.as_str(), |(component, _)| component)
                .to_owned(),
        }),
        Quantity::Logits | Quantity::LogProbs => Some("unembed".into()),
        _ => None,
    }
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
