//! `tlbench inspect`: what an adapter makes of a checkpoint.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tlbench_sdk::spec::{Component, TensorSource};
use tlbench_sdk::{HookPoint, layer_of, short_name};

use crate::model::Model;
use crate::report::printable;

/// The spec as a tree, the hooks, and what of config and checkpoint was used.
pub fn human(model: &Model) -> String {
    let mut text = String::new();
    let spec = &model.spec;
    let _ = writeln!(
        text,
        "{} (architecture {}): {} layers, d_model {}, d_vocab {}, n_ctx {}",
        spec.architecture,
        model.architecture,
        spec.layers.len(),
        spec.d_model,
        spec.d_vocab,
        spec.n_ctx
            .map_or_else(|| "unbounded".to_owned(), |n| n.to_string()),
    );
    text.push_str("\nComponents\n");
    for group in fold(spec.components()) {
        component(&mut text, &group);
    }
    let _ = writeln!(text, "\nHooks in execution order ({})", model.hooks.len());
    for group in fold_hooks(&model.hooks) {
        hook(&mut text, &group);
    }
    let usage = &model.usage;
    text.push('\n');
    list(&mut text, "Config keys read", &usage.keys_read);
    list(&mut text, "Config keys not read", &usage.keys_not_read);
    list(&mut text, "Checkpoint tensors taken", &usage.tensors_taken);
    list(
        &mut text,
        "Checkpoint tensors not taken",
        &usage.tensors_not_taken,
    );
    text
}

/// The same for programs, in full.
pub fn machine(model: &Model) -> String {
    let usage = &model.usage;
    let document = json!({
        "architecture": model.architecture,
        "spec": model.spec,
        "hooks": model.hooks,
        "config_keys": { "read": usage.keys_read, "not_read": usage.keys_not_read },
        "tensors": { "taken": usage.tensors_taken, "not_taken": usage.tensors_not_taken },
    });
    format!("{document:#}\n")
}

/// Something that is the same in consecutive blocks, written down once.
struct Folded<T> {
    name: String,
    item: T,
}

/// Components of blocks that differ in nothing but their number share a line.
fn fold(components: Vec<Component<'_>>) -> Vec<Folded<Component<'_>>> {
    let shape = |component: &Component<'_>| {
        let tensors: Vec<Value> = component
            .tensors
            .iter()
            .map(|(role, source)| json!([role, generic(source)]))
            .collect();
        (without_block(&component.spec), tensors)
    };
    fold_by(
        components,
        |component| component.name.clone(),
        |a, b| shape(a) == shape(b),
    )
}

fn fold_hooks(hooks: &[HookPoint]) -> Vec<Folded<&HookPoint>> {
    fold_by(
        hooks.iter().collect(),
        |hook| hook.name.clone(),
        |a, b| a.shape == b.shape && a.gate == b.gate,
    )
}

fn fold_by<T>(
    items: Vec<T>,
    name: impl Fn(&T) -> String,
    same: impl Fn(&T, &T) -> bool,
) -> Vec<Folded<T>> {
    // The blocks in which each item of the first such block recurs.
    let mut folded: Vec<(Folded<T>, Vec<usize>)> = Vec::new();
    for item in items {
        let full = name(&item);
        let Some((block, short)) = in_block(&full) else {
            folded.push((Folded { name: full, item }, Vec::new()));
            continue;
        };
        let twin = folded.iter_mut().find(|(known, blocks)| {
            blocks.last().is_some_and(|last| last + 1 == block)
                && in_block(&known.name).is_some_and(|(_, known)| known == short)
                && same(&known.item, &item)
        });
        match twin {
            Some((_, blocks)) => blocks.push(block),
            None => folded.push((Folded { name: full, item }, vec![block])),
        }
    }
    folded
        .into_iter()
        .map(
            |(folded, blocks)| match (blocks.as_slice(), in_block(&folded.name)) {
                ([first, .., last], Some((_, short))) => Folded {
                    name: format!("blocks.{first}-{last}.{short}"),
                    item: folded.item,
                },
                _ => folded,
            },
        )
        .collect()
}

fn in_block(name: &str) -> Option<(usize, &str)> {
    Some((layer_of(name)?, short_name(name)))
}

fn component(text: &mut String, folded: &Folded<Component<'_>>) {
    let component = &folded.item;
    let _ = writeln!(text, "  {}", folded.name);
    for line in plain_values(&component.spec) {
        let _ = writeln!(text, "    {line}");
    }
    if !component.config_keys.is_empty() {
        let _ = writeln!(
            text,
            "    from config: {}",
            component.config_keys.join(", ")
        );
    }
    for (role, source) in &component.tensors {
        let mut line = format!(
            "    {role:<10} {} {:?}",
            source.names.join(" | "),
            source.shape
        );
        if let (false, Ok(shape)) = (source.cut.is_empty(), source.cut_shape()) {
            let steps: Vec<String> = source.cut.iter().map(|cut| format!("{cut:?}")).collect();
            let _ = write!(line, " -> {shape:?} by {}", steps.join(", "));
        }
        let _ = writeln!(text, "{line}");
    }
}

/// The hyper-parameters of a component, without what is shown elsewhere.
fn plain_values(spec: &Value) -> Vec<String> {
    let Value::Object(fields) = spec else {
        return if spec.is_null() {
            Vec::new()
        } else {
            vec![spec.to_string()]
        };
    };
    let shown_elsewhere = ["config_keys", "module", "port", "post_tap"];
    let is_tensor = |value: &Value| {
        ["names", "weight", "projection"]
            .iter()
            .any(|key| value.get(key).is_some())
    };
    let mut lines = Vec::new();
    for (name, value) in fields {
        if value.is_null() || shown_elsewhere.contains(&name.as_str()) || is_tensor(value) {
            continue;
        }
        match value {
            Value::Object(inner) if inner.contains_key("d_mlp") => {
                lines.extend(plain_values(value));
            }
            _ => lines.push(format!("{name} = {value}")),
        }
    }
    lines
}

fn hook(text: &mut String, folded: &Folded<&HookPoint>) {
    let hook = folded.item;
    let gate = hook
        .gate
        .map(|gate| format!("  on demand ({})", gate.name()))
        .unwrap_or_default();
    let _ = writeln!(text, "  {:<36} {}{gate}", folded.name, hook.shape_text());
}

fn list(text: &mut String, title: &str, names: &[String]) {
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    let _ = writeln!(text, "{title}: {}", printable(&names));
}

/// A source with the number of its block taken out of its names.
fn generic(source: &TensorSource) -> Value {
    without_block(&json!(source))
}

/// The same value with every number between dots in its texts taken out.
pub(crate) fn without_block(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let parts: Vec<&str> = text
                .split('.')
                .map(|part| {
                    if part.parse::<usize>().is_ok() {
                        "N"
                    } else {
                        part
                    }
                })
                .collect();
            Value::String(parts.join("."))
        }
        Value::Array(items) => Value::Array(items.iter().map(without_block).collect()),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), without_block(value)))
            .collect(),
        other => other.clone(),
    }
}
