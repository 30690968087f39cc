//! What `config.json` says under the keys that most families have, whatever the adapter has made of it.

use serde_json::{Map, Value};
use tlbench_sdk::spec::{Mask, RotarySpec};
use tlbench_sdk::{ConfigReader, LayerType, RotaryKeys};

/// The keys of the wavelengths' base and of the share that is rotated, as families have them.
const KEYS: [RotaryKeys; 3] = [
    RotaryKeys::USUAL,
    RotaryKeys {
        partial: Some(("partial_rotary_factor", 1.0)),
        ..RotaryKeys::USUAL
    },
    RotaryKeys {
        theta: "rotary_emb_base",
        partial: Some(("rotary_pct", 1.0)),
        ..RotaryKeys::USUAL
    },
];

/// Rotary positions, each with where they stand. What HF would refuse is left out.
pub(super) fn rotaries(config: &Map<String, Value>, d_head: usize) -> Vec<(String, RotarySpec)> {
    let reader = ConfigReader::new(config.clone());
    let n_ctx = config
        .get("max_position_embeddings")
        .and_then(Value::as_u64);
    let Some(n_ctx) = n_ctx.and_then(|n_ctx| usize::try_from(n_ctx).ok()) else {
        return Vec::new();
    };
    let key = [
        "rope_scaling",
        "rope_parameters",
        "rope_theta",
        "rotary_emb_base",
    ]
    .into_iter()
    .find(|key| config.get(*key).is_some_and(|value| !value.is_null()));
    let Some(key) = key else { return Vec::new() };
    let mut list: Vec<(String, RotarySpec)> = Vec::new();
    let mut push = |place: String, rotary| {
        if let Ok(rotary) = rotary
            && list.iter().all(|(_, known)| *known != rotary)
        {
            list.push((place, rotary));
        }
    };
    // What no key says is a default of families that have that key.
    let is_said = |keys: &RotaryKeys| {
        keys.theta == RotaryKeys::USUAL.theta || config.contains_key(keys.theta)
    };
    for keys in KEYS.into_iter().filter(is_said) {
        push(format!("`{key}`"), reader.rotary(keys, d_head, n_ctx));
    }
    let of_layers = config.get("rope_parameters").and_then(Value::as_object);
    for layers in [LayerType::Full, LayerType::Sliding] {
        if of_layers.is_some_and(|table| table.contains_key(layers.name())) {
            let place = format!("`{}` of `rope_parameters`", layers.name());
            push(
                place,
                reader.rotary_of(layers, RotaryKeys::USUAL, d_head, n_ctx),
            );
        }
    }
    list
}

/// The window, if there is one.
pub(super) fn window(config: &Map<String, Value>) -> Option<Mask> {
    let window = config.get("sliding_window")?.as_u64()?;
    let window = usize::try_from(window).ok().filter(|window| *window > 0)?;
    Some(Mask::sliding(window))
}
