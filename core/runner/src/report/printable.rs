//! Foreign text for a terminal: it can neither paint there nor fake a line.
//!
//! Plugins, configs and checkpoints bring texts of their own. Reports for programs carry them as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use tlbench_sdk::{Detail, Divergence, Quantity};

use crate::diagnosis::{Diagnosis, Likeness};
use crate::events::{BenchmarkResult, CheckId, Event, ModelOpened};
use crate::sensitivity::{FaultJudged, FaultOutcome};

/// The most characters of one text that a report for a person shows.
const LONGEST: usize = 2000;

/// `text` as one line, with whatever would move the cursor, colour or reorder escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        Cow::Owned(text.chars().fold(String::new(), escaped))
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and those that break lines or turn their direction.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

fn escaped(mut line: String, character: char) -> String {
    if is_unprintable(character) {
        line.extend(character.escape_default());
    } else {
        line.push(character);
    }
    line
}

/// The same, cut where it is long.
pub fn shortened(text: &str) -> String {
    let mut rest = text.chars();
    let line: String = rest.by_ref().take(LONGEST).collect();
    let line = printable(&line);
    match rest.count() {
        0 => line.into_owned(),
        more => format!("{line}... ({more} more characters in the report for programs)"),
    }
}

/// The same of a text whose lines stand one under the other.
fn lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// `event` with every foreign text that a report for a person shows made printable.
pub(super) fn event(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::PluginProblem { file, message, .. } => {
            *file = PathBuf::from(shortened(&file.display().to_string()));
            *message = shortened(message);
        }
        Event::Progress { message } | Event::Download { file: message, .. } => {
            *message = shortened(message);
        }
        Event::ModelOpened(opened) => model_opened(opened),
        Event::ModelFailed { model, message } => {
            (*model, *message) = (shortened(model), shortened(message));
        }
        // Lists of hooks are long, and our own.
        Event::Note { message, .. } => *message = printable(message).into_owned(),
        Event::ReferenceOpened {
            model,
            reference,
            provenance,
            ..
        } => {
            (*model, *reference) = (shortened(model), shortened(reference));
            *provenance = shortened_provenance(provenance);
        }
        Event::ReferenceUnavailable {
            model,
            reference,
            reason,
        } => {
            (*model, *reference, *reason) =
                (shortened(model), shortened(reference), shortened(reason));
        }
        Event::CheckStarted { check } => check_id(check),
        Event::CheckFinished(result) => finished(result),
        Event::Diagnosed(found) => diagnosis(found),
        Event::Likened(found) => likeness(found),
        Event::FaultJudged(judged) => fault_judged(judged),
        Event::SensitivityScored(score) => score.model = shortened(&score.model),
        Event::RunStarted { .. } | Event::Planned { .. } | Event::RunFinished { .. } => {}
    }
    event
}

fn diagnosis(diagnosis: &mut Diagnosis) {
    let texts = [&mut diagnosis.model, &mut diagnosis.input];
    for text in texts
        .into_iter()
        .chain([&mut diagnosis.component, &mut diagnosis.hook])
    {
        *text = shortened(text);
    }
    for explanation in &mut diagnosis.explanations {
        for text in [
            &mut explanation.fault,
            &mut explanation.finding,
            &mut explanation.look_at,
        ] {
            *text = shortened(text);
        }
    }
    if let Some(nearest) = &mut diagnosis.nearest {
        for text in [&mut nearest.finding, &mut nearest.look_at] {
            *text = shortened(text);
        }
    }
}

fn likeness(likeness: &mut Likeness) {
    let texts = [&mut likeness.model, &mut likeness.subject];
    let faults = likeness.shared.iter_mut().flat_map(|one| &mut one.faults);
    let faults = faults.flat_map(|fault| [&mut fault.id, &mut fault.description]);
    for text in texts.into_iter().chain(&mut likeness.inputs).chain(faults) {
        *text = shortened(text);
    }
}

fn fault_judged(judged: &mut FaultJudged) {
    let fault = &mut judged.fault;
    for text in [
        &mut judged.model,
        &mut judged.reference,
        &mut fault.id,
        &mut fault.description,
        &mut fault.shown_by,
    ] {
        *text = shortened(text);
    }
    if let Some(one) = &mut judged.recognition {
        one.finding = one.finding.as_deref().map(shortened);
    }
    match &mut judged.outcome {
        FaultOutcome::Caught { by, .. } => {
            check_id(&mut by.check);
            by.message = shortened(&by.message);
        }
        FaultOutcome::Refused { reason } => *reason = shortened(reason),
        FaultOutcome::Missed { .. }
        | FaultOutcome::NotAsked { .. }
        | FaultOutcome::NotExercised { .. }
        | FaultOutcome::MovesNothing => {}
    }
}

fn model_opened(opened: &mut ModelOpened) {
    let ModelOpened {
        model,
        folder: _,
        architecture,
        subject,
        provenance,
        dtype: _,
        config_digest: _,
        weights_digest: _,
        keys_not_read,
        tensors_not_taken,
        hub: _,
    } = opened;
    for text in [model, architecture, subject] {
        *text = shortened(text);
    }
    *provenance = shortened_provenance(provenance);
    for texts in [keys_not_read, tensors_not_taken] {
        *texts = texts.iter().map(|text| shortened(text)).collect();
    }
}

fn shortened_provenance(provenance: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let entries = provenance.iter();
    entries
        .map(|(name, value)| (shortened(name), shortened(value)))
        .collect()
}

fn check_id(check: &mut CheckId) {
    let CheckId {
        model,
        mode: _,
        module,
        benchmark,
        reference,
        variant,
    } = check;
    for text in [model, module, benchmark, reference, variant] {
        *text = shortened(text);
    }
}

fn finished(result: &mut BenchmarkResult) {
    check_id(&mut result.check);
    result.message = shortened(&result.message);
    if let Some(Divergence {
        quantity, reason, ..
    }) = &mut result.first_divergence
    {
        *reason = shortened(reason);
        if let Quantity::Hook(name) = quantity {
            *name = shortened(name);
        }
    }
    for Detail { name, value } in &mut result.details {
        // What is indented below its name fakes no line.
        (*name, *value) = (shortened(name), lines(value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_paints_is_escaped_and_what_is_written_stays() {
        for text in ["blocks.0 → 1e-3", "⏭️ [SKIP]", "Ωμέγα 日本語 \u{200d}"] {
            assert_eq!(printable(text), text);
        }
        assert_eq!(
            printable("a\r\u{1b}[2Kb\n\u{9b}1m\u{202e}c"),
            r"a\r\u{1b}[2Kb\n\u{9b}1m\u{202e}c"
        );
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let text = shortened(&"x".repeat(LONGEST + 7));
        let end = "x... (7 more characters in the report for programs)";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(shortened(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    proptest! {
        #[test]
        fn it_is_one_line(text in any::<String>()) {
            let line = printable(&text);
            prop_assert!(!line.contains(char::is_control));
            prop_assert_eq!(printable(&line), line.as_ref());
        }
    }
}
