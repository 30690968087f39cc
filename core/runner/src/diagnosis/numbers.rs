//! Repairs that leave a number open: it is searched for.

use serde_json::Value;
use tlbench_sdk::{ModelSpec, Remedy, Repair, Values};

use super::Explanation;
use super::patient::Case;
use super::search::{least, rounded};

/// A ratio as healthy implementations have it; closer than that rounding decides.
const HEALTHY: f64 = 2.0;

/// The repairs that fit with some value of their number.
pub(super) fn explanations(
    case: &Case<'_>,
    repairs: &[Repair],
    tried: &mut usize,
) -> Vec<Explanation> {
    let Ok(spec) = serde_json::to_value(case.spec()) else {
        return Vec::new();
    };
    let explanation = |repair: &Repair| {
        let Remedy::Number { name, at, values } = &repair.remedy else {
            return None;
        };
        let with = |value: f64| put(&spec, at, *values, value);
        let found = at.first().and_then(|at| spec.pointer(at));
        let found = found.and_then(Value::as_f64);
        let value = least(*values, found, HEALTHY, |value| {
            *tried += 1;
            case.ratio_of(&with(value)?)
        })?;
        let fitting = rounded(value).into_iter().find_map(|value| {
            *tried += 1;
            let repaired = with(value)?;
            Some((value, case.cured(&repaired)?, repaired))
        });
        let (value, ratio, repaired) = fitting?;
        let found = found.map_or_else(|| "none".to_owned(), text);
        Some(Explanation {
            fault: repair.fault.clone(),
            finding: format!("{name} = {found} where {} fits", text(value)),
            look_at: repair.look_at.clone(),
            component: case.component.clone(),
            ratio,
            worst: ratio,
            spec: repaired,
        })
    };
    repairs.iter().filter_map(explanation).collect()
}

/// As people write it.
fn text(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e7) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// The spec with `value` at every place of `at`.
fn put(spec: &Value, at: &[String], values: Values, value: f64) -> Option<ModelSpec> {
    let number = match values {
        Values::Positive { .. } => Value::from(value),
        Values::Whole { .. } => Value::from(value as u64),
    };
    let mut spec = spec.clone();
    for pointer in at {
        let (parent, key) = pointer.rsplit_once('/')?;
        let parent = spec.pointer_mut(parent)?.as_object_mut()?;
        parent.insert(key.to_owned(), number.clone());
    }
    let spec: ModelSpec = serde_json::from_value(spec).ok()?;
    spec.check().ok()?;
    Some(spec)
}
