//! Specs and hooks as text that a person can compare.

use serde::Serialize;
use tlbench_sdk::HookPoint;
use tlbench_sdk::spec::{HfTap, TapStep};

/// JSON with each list and object on one line where it fits.
pub(crate) fn compact_json<T: Serialize>(value: &T) -> String {
    const WIDTH: usize = 120;
    // One frame of lines for each bracket that is open.
    let mut frames: Vec<Vec<String>> = vec![Vec::new()];
    for line in serde_json::to_string_pretty(value).unwrap().lines() {
        if line.ends_with(['{', '[']) {
            frames.push(vec![line.to_owned()]);
            continue;
        }
        let mut frame = vec![line.to_owned()];
        if line.trim_start().starts_with(['}', ']']) {
            let mut whole = frames.pop().unwrap();
            whole.push(line.to_owned());
            let one_line = on_one_line(&whole);
            frame = if one_line.len() <= WIDTH {
                vec![one_line]
            } else {
                whole
            };
        }
        frames.last_mut().unwrap().extend(frame);
    }
    frames.concat().join("\n")
}

fn on_one_line(lines: &[String]) -> String {
    let [open, items @ .., close] = lines else {
        panic!("brackets are on lines of their own")
    };
    let items: Vec<&str> = items.iter().map(|item| item.trim_start()).collect();
    format!("{open}{}{}", items.join(" "), close.trim_start())
}

/// Name, shape, gate, and where HF shows it.
pub(crate) fn hook_line(point: &HookPoint) -> String {
    let gate = point.gate.map(|gate| format!(" if {}", gate.name()));
    let tap = point
        .hf_tap
        .as_ref()
        .map(|tap| format!(" <- {}", tap_text(tap)));
    format!(
        "{} {}{}{}",
        point.name,
        point.shape_text(),
        gate.unwrap_or_default(),
        tap.unwrap_or_default()
    )
}

fn tap_text(tap: &HfTap) -> String {
    let steps: String = tap.steps.iter().map(step_text).collect();
    format!("{} {:?}{steps}", tap.module, tap.port)
}

fn step_text(step: &TapStep) -> String {
    match step {
        TapStep::Slice { start, len } => format!(" slice {start}+{len}"),
        TapStep::Split { sizes } => format!(" split {sizes:?}"),
        TapStep::Select { dim, index } => format!(" select {index} of dim {dim}"),
        TapStep::Transpose { a, b } => format!(" transpose {a} {b}"),
    }
}
