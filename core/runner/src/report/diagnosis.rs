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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(explanations: Vec<Explanation>) -> String {
        let diagnosis = Diagnosis {
            model: "tiny".into(),
            input: "text".into(),
            component: "blocks.0.mlp".into(),
            hook: "blocks.0.mlp.hook_post".into(),
            ratio: 3552.0,
            tried: 21,
            explanations,
        };
        let mut text = String::new();
        let events = [Event::Diagnosed(Box::new(diagnosis))];
        section(&mut text, &events, "other", Style::Plain);
        assert_eq!(text, "");
        section(&mut text, &events, "tiny", Style::Plain);
        text
    }

    fn explanation(finding: &str, worst: f64) -> Explanation {
        let seed = include_str!("../../../fuzz/seeds/boundary/symptom");
        let (_, json) = seed.split_once("\n\n").unwrap();
        let symptom: tlbench_sdk::Symptom = serde_json::from_str(json).unwrap();
        Explanation {
            fault: "gelu-kind".into(),
            finding: finding.into(),
            component: "blocks.0.mlp".into(),
            look_at: "activation_function".into(),
            ratio: 0.98,
            worst,
            spec: symptom.spec,
        }
    }

    #[test]
    fn the_best_explanation_is_told_with_what_comes_of_it_and_the_others_after_it() {
        let first = explanation("the activation is gelu where gelu_tanh fits", 1.41);
        let second = explanation("the activation is gelu where silu fits", 88.0);
        insta::assert_snapshot!(told(vec![first, second]));
    }

    #[test]
    fn that_nothing_fits_is_told_with_how_much_was_tried() {
        insta::assert_snapshot!(told(Vec::new()));
    }
}
