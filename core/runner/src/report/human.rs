//! The report for a person. Its form is no interface.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tlbench_sdk::judge::{quantity_text, ratio_text};
use tlbench_sdk::{Mode, Severity, Tier};

use super::result::{Detail, name, one_result};
use super::style::{Style, sign};
use super::{diagnosis, printable, sensitivity};
use crate::events::{BenchmarkResult, Event, ModelOpened};
use crate::located::HubCopy;
use crate::outcome::Outcome;

const WIDTH: usize = 80;

/// The events as text. `verbose` adds the details of checks that passed.
pub fn human(events: &[Event], style: Style, verbose: bool) -> String {
    let events: Vec<Event> = events.iter().map(printable::event).collect();
    let events = events.as_slice();
    let mut text = String::new();
    let detail = if verbose {
        Detail::All
    } else {
        Detail::Failures
    };
    banner(&mut text, events, style);
    for event in events {
        opening(&mut text, event, style);
    }
    let results: Vec<&BenchmarkResult> = events.iter().filter_map(finished).collect();
    totals(&mut text, &results, style);
    listing(&mut text, &results, style, detail);
    sensitivity::section(&mut text, events, style);
    closing(&mut text, events, &results, style);
    text
}

/// The same of a run that was about mistakes: checks of the model itself are told if one of them is red.
pub fn human_of_faults(events: &[Event], style: Style, verbose: bool) -> String {
    let mut results = events.iter().filter_map(finished);
    if verbose || results.any(|result| result.severity.is_red()) {
        return human(events, style, verbose);
    }
    let events: Vec<Event> = events.iter().map(printable::event).collect();
    let events = events.as_slice();
    let mut text = String::new();
    banner(&mut text, events, style);
    for event in events {
        opening(&mut text, event, style);
    }
    sensitivity::section(&mut text, events, style);
    let results: Vec<&BenchmarkResult> = events.iter().filter_map(finished).collect();
    closing(&mut text, events, &results, style);
    text
}

fn finished(event: &Event) -> Option<&BenchmarkResult> {
    match event {
        Event::CheckFinished(result) => Some(result),
        _ => None,
    }
}

pub(super) fn line(text: &mut String, content: impl AsRef<str>) {
    text.push_str(content.as_ref().trim_end());
    text.push('\n');
}

fn rule(text: &mut String, character: &str) {
    line(text, character.repeat(WIDTH));
}

fn banner(text: &mut String, events: &[Event], style: Style) {
    for event in events {
        if let Event::RunStarted {
            version, device, ..
        } = event
        {
            rule(text, "=");
            line(text, style.strong(&format!("tlbench {version}")));
            let models: Vec<&str> = events.iter().filter_map(model_name).collect();
            line(text, format!("Model: {}", models.join(", ")));
            line(text, format!("Device: {device}"));
            rule(text, "=");
        }
    }
}

fn model_name(event: &Event) -> Option<&str> {
    match event {
        Event::ModelOpened(opened) => Some(&opened.model),
        Event::ModelFailed { model, .. } => Some(model),
        _ => None,
    }
}

pub(super) fn opening(text: &mut String, event: &Event, style: Style) {
    match event {
        Event::PluginProblem { file, message, .. } => {
            let head = style.severity(Severity::Error, "plugin");
            line(text, format!("{head} {}: {message}", file.display()));
        }
        Event::ModelOpened(opened) => model_opened(text, opened, style),
        Event::ModelFailed { model, message } => {
            line(
                text,
                format!(
                    "{} {model}: {message}",
                    style.severity(Severity::Error, "✗")
                ),
            );
        }
        Event::ReferenceUnavailable {
            reference, reason, ..
        } => {
            line(
                text,
                format!(
                    "{} no `{reference}` reference: {reason}",
                    style.severity(Severity::Skipped, "-")
                ),
            );
        }
        Event::ReferenceOpened {
            reference,
            tier,
            provenance,
            ..
        } => {
            let from = origin(provenance);
            let tick = style.severity(Severity::Info, "✓");
            line(
                text,
                format!(
                    "{tick} reference: {reference}, tier {}, {}{from}",
                    tier.number(),
                    tier.name()
                ),
            );
            if *tier == Tier::BridgeAlone {
                let warning = "! no independent reference: rounding is measured, the spec and the engine are not verified";
                line(text, style.severity(Severity::Warning, warning));
            }
        }
        Event::Note { message, .. } => {
            line(
                text,
                format!("{} {message}", style.severity(Severity::Skipped, "-")),
            );
        }
        Event::Progress { .. }
        | Event::Download { .. }
        | Event::CheckStarted { .. }
        | Event::RunStarted { .. }
        | Event::Planned { .. }
        | Event::CheckFinished(_)
        | Event::Diagnosed(_)
        | Event::Likened(_)
        | Event::FaultJudged(_)
        | Event::SensitivityScored(_)
        | Event::RunFinished { .. } => {}
    }
}

fn model_opened(text: &mut String, opened: &ModelOpened, style: Style) {
    let ModelOpened {
        model,
        hub,
        architecture,
        subject,
        provenance,
        dtype,
        ..
    } = opened;
    let from = origin(provenance);
    let tick = style.severity(Severity::Info, "✓");
    line(
        text,
        format!("{tick} {model}: {subject} of architecture {architecture}, {dtype}{from}"),
    );
    if let Some(HubCopy { id, commit }) = hub {
        line(
            text,
            format!("{tick} {model}: {id} of the Hub, commit {commit}"),
        );
    }
    for (what, names) in [
        ("config keys not read", &opened.keys_not_read),
        ("checkpoint tensors not taken", &opened.tensors_not_taken),
    ] {
        if !names.is_empty() {
            let head = style.severity(Severity::Warning, "!");
            line(text, format!("{head} {what}: {}", names.join(", ")));
        }
    }
}

/// What of the provenance a reader looks for first.
fn origin(provenance: &BTreeMap<String, String>) -> String {
    let keys = ["api", "transformer-lens", "transformers", "torch", "dtype"].iter();
    let known: Vec<String> = keys
        .filter_map(|key| provenance.get(*key).map(|value| format!("{key} {value}")))
        .collect();
    if known.is_empty() {
        String::new()
    } else {
        format!(" ({})", known.join(", "))
    }
}

fn totals(text: &mut String, results: &[&BenchmarkResult], style: Style) {
    text.push('\n');
    rule(text, "=");
    line(text, style.strong("BENCHMARK RESULTS"));
    rule(text, "=");
    let total = results.len();
    let share = |count: usize| 100.0 * count as f64 / total.max(1) as f64;
    let passed = results.iter().filter(|result| result.passed).count();
    let failed = results
        .iter()
        .filter(|r| matches!(r.severity, Severity::Danger | Severity::Error))
        .count();
    line(text, format!("Total: {total} checks"));
    line(text, format!("Passed: {passed} ({:.1}%)", share(passed)));
    line(text, format!("Failed: {failed} ({:.1}%)", share(failed)));
    let skipped = total - passed - failed;
    if skipped > 0 {
        line(
            text,
            format!("Not verified: {skipped} ({:.1}%)", share(skipped)),
        );
    }
    text.push('\n');
    for severity in Severity::ALL {
        let count = results
            .iter()
            .filter(|result| result.severity == severity)
            .count();
        if count > 0 || severity != Severity::Skipped {
            line(text, format!("{} {severity}: {count}", sign(severity)));
        }
    }
}

fn listing(text: &mut String, results: &[&BenchmarkResult], style: Style, detail: Detail) {
    let mut by_model: BTreeMap<(&str, Mode), Vec<&BenchmarkResult>> = BTreeMap::new();
    for result in results {
        by_model
            .entry((&result.check.model, result.check.mode))
            .or_default()
            .push(result);
    }
    for ((model, mode), results) in by_model {
        text.push('\n');
        rule(text, "-");
        line(text, style.strong(&format!("{model} ({})", mode.name())));
        rule(text, "-");
        for benchmark in results.chunk_by(|a, b| a.check.benchmark == b.check.benchmark) {
            one_benchmark(text, benchmark, style, detail);
        }
    }
}

/// One line for what passed everywhere, unless everything is to be told; else one for each check.
fn one_benchmark(text: &mut String, results: &[&BenchmarkResult], style: Style, detail: Detail) {
    let passed = results
        .iter()
        .all(|result| result.severity == Severity::Info);
    let Some(first) = results
        .first()
        .filter(|_| passed && results.len() > 1 && detail == Detail::Failures)
    else {
        for result in results {
            one_result(text, &name(result), result, style, detail);
        }
        return;
    };
    let measured = results.iter().flat_map(|result| {
        let variant = &result.check.variant;
        result.measurements.iter().map(move |m| (variant, m))
    });
    let worst = measured.max_by(|(_, a), (_, b)| a.ratio.total_cmp(&b.ratio));
    let worst = match worst {
        Some((variant, m)) => format!(
            "; worst error ratio {} ({}, {variant})",
            ratio_text(m.ratio),
            quantity_text(&m.quantity)
        ),
        None => String::new(),
    };
    let verdict = style.severity(Severity::Info, "[PASS]");
    let (sign, name) = (sign(Severity::Info), &first.check.benchmark);
    line(
        text,
        format!(
            "{sign} {verdict} {name}: all {} checks{worst}",
            results.len()
        ),
    );
}

fn closing(text: &mut String, events: &[Event], results: &[&BenchmarkResult], style: Style) {
    text.push('\n');
    rule(text, "=");
    let outcome = Outcome::of(events);
    let mut verdict = match outcome {
        Outcome::Passed => style.severity(Severity::Info, "passed"),
        Outcome::VerificationFailed => style.severity(Severity::Danger, "verification failed"),
        Outcome::CouldNotRun => style.severity(
            Severity::Error,
            "incomplete: not everything could be verified",
        ),
        Outcome::PluginFailed => {
            style.severity(Severity::Error, "incomplete: a plugin could not be used")
        }
        Outcome::NothingSelected => style.severity(Severity::Error, "nothing selected"),
    };
    if let Some(Event::RunFinished { seconds }) = events.last() {
        let _ = write!(verdict, " in {seconds:.2} s");
    }
    line(text, verdict);
    if outcome == Outcome::VerificationFailed {
        diagnosis::section(text, events, results, style);
    }
}
