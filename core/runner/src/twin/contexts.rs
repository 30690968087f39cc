//! How long the contexts of a twin are, so that every way to encode a position is met on a short text.

use std::f64::consts::TAU;

use serde_json::{Map, Value};
use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{PositionSpec, RotaryScaling, RotarySpec};

/// The context where no scaling asks for another.
const CONTEXT: usize = 96;
/// The context on which a model was trained whose positions change beyond it.
const TRAINED: usize = 12;

/// The longest sequence, and the one that the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contexts {
    pub(super) longest: usize,
    pub(super) trained: Option<usize>,
}

impl Contexts {
    /// Those of a twin of `spec` that rotates `dim` channels of a head. Their ratio stays what it is.
    pub(super) fn of(spec: &ModelSpec, dim: usize) -> Self {
        let rotary = spec.layers.iter().find_map(scaled);
        let Some((rotary, trained, now)) = rotary.and_then(|rotary| trained(rotary, dim)) else {
            return Self {
                longest: spec.n_ctx.map_or(CONTEXT, |n_ctx| n_ctx.min(CONTEXT)),
                trained: None,
            };
        };
        let longest = match (&rotary.scaling, spec.n_ctx) {
            // The context that it is trained on is the only one that it has.
            (RotaryScaling::Dynamic { .. }, _) | (_, None) => now,
            (_, Some(n_ctx)) => (now as f64 * n_ctx as f64 / trained as f64).round() as usize,
        };
        Self {
            longest,
            trained: Some(now),
        }
    }

    /// Writes the trained context wherever `config` has one.
    pub(super) fn write_trained(self, config: &mut Map<String, Value>) {
        let Some(trained) = self.trained else { return };
        on_tables(config, &|table| {
            let key = "original_max_position_embeddings";
            if let Some(value @ Value::Number(_)) = table.get_mut(key) {
                *value = trained.into();
            }
        });
    }
}

/// Thins the lists of factors in `config`, of which each pair of channels has one, to `pairs`.
pub(super) fn thin_factors(config: &mut Map<String, Value>, pairs: usize) {
    on_tables(config, &|table| {
        for key in ["short_factor", "long_factor"] {
            if let Some(Value::Array(factors)) = table.get_mut(key) {
                *factors = thinned(factors, pairs);
            }
        }
    });
}

/// `count` of the `factors` at even distances, from the first to the last.
fn thinned(factors: &[Value], count: usize) -> Vec<Value> {
    let (last, steps) = (factors.len().saturating_sub(1), count.saturating_sub(1));
    let nth = |index: usize| (index * last).checked_div(steps).unwrap_or(0);
    (0..count)
        .filter_map(|index| factors.get(nth(index)).cloned())
        .collect()
}

/// Calls `edit` with `table` and all tables in it.
fn on_tables(table: &mut Map<String, Value>, edit: &dyn Fn(&mut Map<String, Value>)) {
    edit(table);
    for value in table.values_mut() {
        if let Value::Object(inner) = value {
            on_tables(inner, edit);
        }
    }
}

fn scaled(layer: &tlbench_sdk::spec::LayerSpec) -> Option<&RotarySpec> {
    match &layer.attn.as_ref()?.body.position {
        PositionSpec::Rotary(rotary) => Some(rotary).filter(|rotary| {
            !matches!(
                rotary.scaling,
                RotaryScaling::None | RotaryScaling::Linear { .. }
            )
        }),
        _ => None,
    }
}

/// The context that `rotary` was trained on, and the one for a twin.
fn trained(rotary: &RotarySpec, dim: usize) -> Option<(&RotarySpec, usize, usize)> {
    let (trained, now) = match rotary.scaling {
        RotaryScaling::None | RotaryScaling::Linear { .. } => return None,
        RotaryScaling::Dynamic { original_n_ctx, .. }
        | RotaryScaling::LongRope { original_n_ctx, .. } => (original_n_ctx, TRAINED),
        RotaryScaling::Llama3 {
            low_freq_factor: low,
            high_freq_factor: high,
            original_n_ctx,
            ..
        }
        | RotaryScaling::Yarn {
            beta_slow: low,
            beta_fast: high,
            original_n_ctx,
            ..
        } => (original_n_ctx, between(rotary.theta, dim, low * high)),
    };
    Some((rotary, trained, now))
}

/// The context whose bounds, which the roots of `product` are away from it, have the second wavelength in their middle:
/// the first is kept then, the second mixed, and the others are stretched.
fn between(theta: f64, dim: usize, product: f64) -> usize {
    let second = TAU * theta.powf(2.0 / dim as f64);
    (second * product.sqrt()).round() as usize
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bands_of_wavelengths_are_all_met() {
        let (theta, dim) = (500_000.0_f64, 10);
        let trained = between(theta, dim, 4.0) as f64;
        let wavelength = |pair: i32| TAU * theta.powf(f64::from(2 * pair) / 10.0);
        assert!(wavelength(0) < trained / 4.0);
        assert!((trained / 4.0..trained).contains(&wavelength(1)));
        assert!(wavelength(2) > trained);
    }

    #[test]
    fn factors_keep_their_ends() {
        let factors: Vec<Value> = (0..48).map(Value::from).collect();
        assert_eq!(thinned(&factors, 5), [0, 11, 23, 35, 47].map(Value::from));
        assert_eq!(thinned(&factors, 1), [json!(0)]);
    }
}
