//! Components by name, in two specs that differ.

use serde_json::Value;
use tlbench_checkpoint::Weights;
use tlbench_sdk::{ModelSpec, layer_of};

/// Within what share two numbers are one.
const SAME: f64 = 0.02;

/// The first component, in execution order, that differs; a block, if it is about how its branches are joined.
pub(crate) fn first_changed(right: &ModelSpec, wrong: &ModelSpec) -> Option<String> {
    let value = |spec: &ModelSpec, name: &str| component(spec, name);
    let mut names: Vec<String> = Vec::new();
    for component in right.components().into_iter().chain(wrong.components()) {
        if !names.contains(&component.name) {
            names.push(component.name);
        }
    }
    let changed = names
        .into_iter()
        .filter(|name| value(right, name) != value(wrong, name));
    let first = changed.min_by_key(|name| order(name));
    let layers = right.layers.iter().zip(&wrong.layers);
    let joined = layers
        .enumerate()
        .find(|(_, (a, b))| joints(a) != joints(b));
    let joined = joined.map(|(index, _)| format!("blocks.{index}"));
    match (first, joined) {
        (Some(first), Some(joined)) if order(&joined) < order(&first) => Some(joined),
        (Some(first), _) => Some(first),
        (None, joined) => joined,
    }
}

/// Where a component stands in execution order.
fn order(name: &str) -> (usize, usize) {
    let kinds = [
        "embed",
        "embed.ln",
        "pos_embed",
        "ln1",
        "attn",
        "ln1_post",
        "ln1_sum",
        "",
        "ln2",
        "mlp",
        "ln2_post",
        "ln2_sum",
        "ln_final",
        "unembed",
    ];
    let kind = match layer_of(name) {
        Some(_) => name.splitn(3, '.').nth(2).unwrap_or_default(),
        None => name,
    };
    let place = kinds.iter().position(|known| *known == kind);
    let place = place.unwrap_or(kinds.len());
    let layer = match layer_of(name) {
        Some(layer) => layer + 1,
        None if place < 3 => 0,
        None => usize::MAX,
    };
    (layer, place)
}

/// How the branches of a block are joined.
fn joints(layer: &tlbench_sdk::spec::LayerSpec) -> Value {
    let attn = layer.attn.as_ref();
    let mlp = layer.mlp.as_ref();
    let shape = |input: Option<Value>| {
        input.map(|input| match input {
            Value::Object(fields) => Value::from(fields.keys().cloned().collect::<Vec<_>>()),
            other => other,
        })
    };
    let json = |value: Option<&tlbench_sdk::spec::BranchInput>| {
        shape(value.and_then(|value| serde_json::to_value(value).ok()))
    };
    serde_json::json!([
        layer.wiring,
        attn.map(|attn| (attn.output_scale, attn.residual)),
        mlp.map(|mlp| (mlp.output_scale, mlp.residual)),
        json(attn.map(|attn| &attn.input)),
        json(mlp.map(|mlp| &mlp.input)),
    ])
}

/// What a spec says of the component `name`; null if there is none.
fn component(spec: &ModelSpec, name: &str) -> Value {
    if let ("embed", Ok(value)) = (name, serde_json::to_value(&spec.embedding)) {
        return without(value, &["positions", "norm"]);
    }
    let components = spec.components();
    let found = components
        .into_iter()
        .find(|component| component.name == name);
    match found {
        Some(component) => component.spec,
        // How a block joins its branches is no component, and counts with the whole of it.
        None => {
            let block = layer_of(name).filter(|layer| name == format!("blocks.{layer}"));
            let layer = block.and_then(|layer| spec.layers.get(layer));
            layer.map_or(Value::Null, |layer| {
                serde_json::to_value(layer).unwrap_or_default()
            })
        }
    }
}

fn without(mut value: Value, keys: &[&str]) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|key, _| !keys.contains(&key.as_str()));
    }
    value
}

/// Whether two specs compute the same in the component `name`: tensors count by what is stored, and numbers that were
/// searched for need not be exact.
pub(crate) fn is_same_component(
    a: &ModelSpec,
    b: &ModelSpec,
    name: &str,
    weights: &Weights,
) -> bool {
    let plain = |spec| stored(component(spec, name), weights);
    is_close(&plain(a), &plain(b))
}

/// With each tensor by the name under which it is stored, and without what is only told.
fn stored(value: Value, weights: &Weights) -> Value {
    const TOLD: [&str; 6] = ["module", "config_keys", "port", "tap", "post_tap", "taps"];
    match value {
        Value::Object(fields) => {
            let kept = fields
                .into_iter()
                .filter(|(key, value)| !TOLD.contains(&key.as_str()) && !value.is_null());
            let kept = kept.map(|(key, value)| {
                let value = match (key.as_str(), &value) {
                    ("names", Value::Array(names)) => {
                        let mut names = names.iter().filter_map(Value::as_str);
                        let stored = names.find(|name| weights.shape(name).is_ok());
                        stored.map_or_else(|| value.clone(), Value::from)
                    }
                    _ => stored(value, weights),
                };
                (key, value)
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items
            .into_iter()
            .map(|item| stored(item, weights))
            .collect(),
        other => other,
    }
}

fn is_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let has = |(key, value): (&String, &Value)| {
                b.get(key).is_some_and(|other| is_close(value, other))
            };
            a.len() == b.len() && a.iter().all(has)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_close(a, b))
        }
        (Value::Number(x), Value::Number(y)) if !(x.is_u64() && y.is_u64()) => {
            let (x, y) = (
                x.as_f64().unwrap_or(f64::NAN),
                y.as_f64().unwrap_or(f64::NAN),
            );
            (x - y).abs() <= SAME * x.abs().max(y.abs())
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::seed_spec as right;

    #[test]
    fn the_first_change_in_execution_order_is_found_wherever_it_is() {
        let changed = |edit: fn(&mut ModelSpec)| {
            let mut wrong = right();
            edit(&mut wrong);
            first_changed(&right(), &wrong)
        };
        assert_eq!(changed(|_| ()), None);
        let final_norm = changed(|spec| spec.final_norm = None);
        assert_eq!(final_norm.as_deref(), Some("ln_final"));
        let attention = changed(|spec| {
            spec.final_norm = None;
            spec.layers[0].attn.as_mut().unwrap().body.scale = 1.0;
        });
        assert_eq!(attention.as_deref(), Some("blocks.0.attn"));
        let joined = changed(|spec| {
            spec.layers[0].wiring = tlbench_sdk::spec::Wiring::Parallel;
        });
        assert_eq!(joined.as_deref(), Some("blocks.0"));
        let positions = changed(|spec| spec.embedding.positions = None);
        assert_eq!(positions.as_deref(), Some("pos_embed"));
    }
}
