//! The machine-readable report.

use serde_json::{Value, json as value};

use crate::events::Event;
use crate::outcome::Outcome;

/// Changes whenever a reader of the report could misunderstand it.
pub const SCHEMA_VERSION: u32 = 1;

/// What is of no use once it is over.
fn is_progress(event: &Event) -> bool {
    matches!(
        event,
        Event::Progress { .. } | Event::Download { .. } | Event::CheckStarted { .. }
    )
}

/// The events as one document.
pub fn json(events: &[Event]) -> String {
    let outcome = Outcome::of(events);
    let told: Vec<Value> = events
        .iter()
        .filter(|event| !is_progress(event))
        .filter_map(|event| serde_json::to_value(event).ok())
        .collect();
    let document = value!({
        "schema_version": SCHEMA_VERSION,
        "outcome": outcome,
        "exit_code": outcome.exit_code(),
        "events": told,
    });
    format!("{document:#}\n")
}
