//! Repairs that leave a number open: it is searched for.

use serde_json::Value;
use tlbench_sdk::{ModelSpec, Remedy, Repair, Values};

use super::Trials;
use super::search::{least, rounded};

/// A ratio as healthy implementations have it; closer than that rounding decides.
const HEALTHY: f64 = 2.0;

/// Tries the repairs that fit with some value of their number.
pub(super) fn search(trials: &mut Trials<'_>, repairs: &[Repair]) {
    let Ok(spec) = serde_json::to_value(trials.case.spec()) else {
        return;
    };
    for repair in repairs {
        let Remedy::Number { name, at, values } = &repair.remedy else {
            continue;
        };
        if !trials.effort.allows_one_more() {
            continue;
        }
        let with = |value: f64| put(&spec, at, *values, value);
        let found = at.first().and_then(|at| spec.pointer(at));
        let found = found.and_then(Value::as_f64);
        let value = least(*values, found, HEALTHY, |value| {
            if !trials.effort.has_some_left() {
                return None;
            }
            trials.effort.spend();
            trials.case.ratio_of(&with(value)?)
        });
        let Some(value) = value else { continue };
        let found = found.map_or_else(|| "none".to_owned(), text);
        for value in rounded(value) {
            let Some(repaired) = with(value).filter(|_| trials.effort.has_some_left()) else {
                continue;
            };
            trials.effort.spend();
            let finding = format!("{name} = {found} where {} fits", text(value));
            if trials.try_on(repair, finding, &repaired) {
                break;
            }
        }
    }
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
