//! What a twin is, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use tlbench_checkpoint::{CONFIG_FILE, WEIGHTS_FILE};

use super::{Recorded, Twin};
use crate::report::printable;

/// Its keys beside those of the model, and its files.
pub fn human(twin: &Twin) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {} of {} layers, {} weights in {}",
        twin.spec.architecture,
        twin.shrunk.layers.len(),
        twin.n_layers,
        twin.parameters,
        twin.dtype,
    );
    let changes = changes(twin);
    let width = changes.iter().map(|change| change.key.len()).max();
    for Change { key, model, twin } in &changes {
        let (width, model, twin) = (width.unwrap_or(0), shown(model), shown(twin));
        let _ = writeln!(text, "  {key:width$}  {model} -> {twin}");
    }
    for file in [CONFIG_FILE, WEIGHTS_FILE] {
        let _ = writeln!(text, "{}", twin.folder.join(file).display());
    }
    match &twin.recording {
        Recorded::File(file) => {
            let _ = writeln!(text, "{}", file.display());
        }
        Recorded::NotWanted => {}
        Recorded::Nobody(reason) => {
            let _ = writeln!(text, "no recording: {reason}");
        }
    }
    text
}

/// The same for programs.
pub fn machine(twin: &Twin) -> String {
    let (file, reason) = match &twin.recording {
        Recorded::File(file) => (Some(file), None),
        Recorded::NotWanted => (None, None),
        Recorded::Nobody(reason) => (None, Some(reason)),
    };
    let changes = changes(twin).into_iter().map(|change| {
        let values = json!({"model": change.model, "twin": change.twin});
        (change.key, values)
    });
    let document = json!({
        "architecture": twin.spec.architecture,
        "folder": twin.folder,
        "layers": { "of_model": twin.n_layers, "kept": twin.shrunk.layers },
        "parameters": twin.parameters,
        "dtype": twin.dtype,
        "config_keys": changes.collect::<Map<_, _>>(),
        "recording": file,
        "no_recording": reason,
    });
    format!("{document:#}\n")
}

/// A key of the config that the model and its twin have with other values.
struct Change {
    key: String,
    model: Value,
    twin: Value,
}

fn changes(twin: &Twin) -> Vec<Change> {
    let mut list = Vec::new();
    changes_within("", &twin.original, &twin.shrunk.config, &mut list);
    list
}

/// Those of a table and of the tables in it; `within` is the table's key and a dot.
fn changes_within(
    within: &str,
    model: &Map<String, Value>,
    twin: &Map<String, Value>,
    list: &mut Vec<Change>,
) {
    for (key, after) in twin {
        let key = format!("{within}{key}");
        match (model.get(&key[within.len()..]), after) {
            (Some(before), after) if before == after => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                changes_within(&format!("{key}."), before, after, list);
            }
            (before, after) => list.push(Change {
                key,
                model: before.cloned().unwrap_or_default(),
                twin: after.clone(),
            }),
        }
    }
}

/// A value of somebody's config, whole if it is short.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::Array(items) if items.len() > 4 => format!("{} entries", items.len()),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    let text = printable(&text).to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let kept: String = text.chars().take(LONGEST - 3).collect();
    format!("{kept}...")
}
