//! What explains the first divergence, for a person.

use tlbench_sdk::Severity;
use tlbench_sdk::judge::ratio_text;

use super::human::line;
use super::style::Style;
use crate::diagnosis::{Diagnosis, Explanation};
use crate::events::Event;

/// What was found out about `model`.
pub(super) fn section(text: &mut String, events: &[Event], model: &str, style: Style) {
    for event in events {
        if let Event::Diagnosed(diagnosis) = event
            && diagnosis.model == model
        {
            one_model(text, diagnosis, style);
        }
    }
}

fn one_model(text: &mut String, diagnosis: &Diagnosis, style: Style) {
    let Diagnosis {
        component,
        hook,
        ratio,
        tried,
        explanations,
        input,
        ..
    } = diagnosis;
    let Some((first, others)) = explanations.split_first() else {
        line(
            text,
            format!(
                "diagnosis: none of {tried} repairs of {component} brings {hook} back from a local error ratio of {} ({input})",
                ratio_text(*ratio)
            ),
        );
        return;
    };
    let Explanation { finding, .. } = first;
    line(
        text,
        format!("diagnosis: {}", style.severity(Severity::Warning, finding)),
    );
    line(
        text,
        format!(
            "     {hook} goes from a local error ratio of {} to {}; the whole model then has at most {} ({input})",
            ratio_text(*ratio),
            ratio_text(first.ratio),
            ratio_text(first.worst)
        ),
    );
    line(text, format!("     look at {}", first.look_at));
    for other in others {
        line(
            text,
            format!(
                "     it could also be: {} (the whole model then has at most {}); look at {}",
                other.finding,
                ratio_text(other.worst),
                other.look_at
            ),
        );
    }
}
