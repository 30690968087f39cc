//! What explains the first divergence, for a person.

use tlbench_sdk::Severity;
use tlbench_sdk::judge::{quantity_text, ratio_text};

use super::human::line;
use super::style::Style;
use crate::diagnosis::{Diagnosis, Explanation, Likeness, Nearest, Shared};
use crate::events::{BenchmarkResult, Event};

/// Where it first goes wrong, and for each model what was found out about that.
pub(super) fn section(
    text: &mut String,
    events: &[Event],
    results: &[&BenchmarkResult],
    style: Style,
) {
    let divergence_of = |result: &&&BenchmarkResult| result.first_divergence.is_some();
    let mut told: Vec<&str> = Vec::new();
    let first = results.iter().find(divergence_of);
    if let Some(first) = first {
        told.push(&first.check.model);
        first_divergence(text, first);
    }
    for event in events {
        let model = match event {
            Event::Diagnosed(diagnosis) => diagnosis.model.as_str(),
            Event::Likened(likeness) => likeness.model.as_str(),
            _ => continue,
        };
        if !told.contains(&model) {
            told.push(model);
            let of_model = |result: &&&BenchmarkResult| result.check.model == model;
            let first = results.iter().filter(of_model).find(divergence_of);
            first
                .into_iter()
                .for_each(|first| first_divergence(text, first));
        }
        match event {
            Event::Diagnosed(diagnosis) => diagnosed(text, diagnosis, style),
            Event::Likened(likeness) => likened(text, likeness, style),
            _ => {}
        }
    }
}

fn first_divergence(text: &mut String, result: &BenchmarkResult) {
    if let Some(divergence) = &result.first_divergence {
        let place = quantity_text(&divergence.quantity);
        let (model, reason) = (&result.check.model, &divergence.reason);
        line(
            text,
            format!("first divergence: {place} of {model} ({reason})"),
        );
    }
}

fn diagnosed(text: &mut String, diagnosis: &Diagnosis, style: Style) {
    let Diagnosis {
        hook,
        ratio,
        input,
        explanations,
        ..
    } = diagnosis;
    let ratio = ratio_text(*ratio);
    let Some((first, others)) = explanations.split_first() else {
        nothing_fits(text, diagnosis);
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
            "     {hook} goes from a local error ratio of {ratio} to {}; the whole model then has at most {} ({input})",
            ratio_text(first.ratio),
            ratio_text(first.worst)
        ),
    );
    line(
        text,
        format!("     in {}: look at {}", first.component, first.look_at),
    );
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
    large(text, [diagnosis.tried, diagnosis.left_out]);
}

fn nothing_fits(text: &mut String, diagnosis: &Diagnosis) {
    let Diagnosis {
        component,
        hook,
        ratio,
        tried,
        input,
        ..
    } = diagnosis;
    line(
        text,
        format!(
            "diagnosis: none of {tried} repairs of {component} brings {hook} back from a local error ratio of {} ({input})",
            ratio_text(*ratio)
        ),
    );
    if let Some(Nearest {
        finding,
        from,
        to,
        look_at,
    }) = &diagnosis.nearest
    {
        let (from, to) = (ratio_text(*from), ratio_text(*to));
        line(
            text,
            format!(
                "     the nearest: {finding}; the worst of {component} goes from {from} to {to} then, so that something else is wrong as well; look at {look_at}"
            ),
        );
    }
    large(text, [diagnosis.tried, diagnosis.left_out]);
}

fn large(text: &mut String, [tried, left_out]: [usize; 2]) {
    if left_out > 0 {
        line(
            text,
            format!(
                "     the model is large: {tried} others were run, and {left_out} more were not"
            ),
        );
    }
}

fn likened(text: &mut String, likeness: &Likeness, style: Style) {
    let Likeness {
        model,
        subject,
        inputs,
        ratio,
        tried,
        left_out,
        shared,
    } = likeness;
    let (ratio, inputs) = (ratio_text(*ratio), inputs.join(", "));
    let Some((first, others)) = shared.split_first() else {
        line(
            text,
            format!(
                "diagnosis: with none of {tried} mistakes does the bridge compute {model} as {subject} does ({inputs})"
            ),
        );
        large(text, [*tried, *left_out]);
        return;
    };
    let finding = format!(
        "{subject} computes {model} as if it had {}",
        mistakes(first)
    );
    line(
        text,
        format!("diagnosis: {}", style.severity(Severity::Warning, &finding)),
    );
    line(
        text,
        format!(
            "     the right model is off from it by an error ratio of {ratio}, and with this by {} ({inputs})",
            ratio_text(first.ratio)
        ),
    );
    for other in others {
        line(
            text,
            format!(
                "     or as if it had {} ({})",
                mistakes(other),
                ratio_text(other.ratio)
            ),
        );
    }
    large(text, [*tried, *left_out]);
}

fn mistakes(shared: &Shared) -> String {
    let all = shared.faults.iter();
    let all: Vec<&str> = all.map(|fault| fault.description.as_str()).collect();
    all.join("; and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(explanations: Vec<Explanation>) -> String {
        with(Diagnosis {
            explanations,
            ..nothing()
        })
    }

    fn nothing() -> Diagnosis {
        Diagnosis {
            model: "tiny".into(),
            input: "text".into(),
            component: "blocks.0.mlp".into(),
            hook: "blocks.0.mlp.hook_post".into(),
            ratio: 3552.0,
            tried: 21,
            left_out: 0,
            explanations: Vec::new(),
            nearest: None,
        }
    }

    fn with(diagnosis: Diagnosis) -> String {
        let mut text = String::new();
        let events = [Event::Diagnosed(Box::new(diagnosis))];
        section(&mut text, &events, &[], Style::Plain);
        text
    }

    fn explanation(finding: &str, worst: f64) -> Explanation {
        Explanation {
            fault: "gelu-kind".into(),
            finding: finding.into(),
            component: "blocks.0.mlp".into(),
            look_at: "activation_function".into(),
            ratio: 0.98,
            worst,
            spec: crate::diagnosis::seed_spec(),
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

    #[test]
    fn of_a_large_model_it_is_told_what_was_not_tried() {
        insta::assert_snapshot!(with(Diagnosis {
            left_out: 17,
            nearest: Some(Nearest {
                finding: "the activation is gelu where gelu_tanh fits".into(),
                from: f64::INFINITY,
                to: 88.0,
                look_at: "activation_function".into(),
            }),
            ..nothing()
        }));
    }

    #[test]
    fn that_another_subject_is_like_no_mistake_is_told() {
        let mut text = String::new();
        let likeness = Likeness {
            model: "tiny".into(),
            subject: "hf-candle".into(),
            inputs: vec!["text".into(), "single".into()],
            ratio: 3552.0,
            tried: 60,
            left_out: 0,
            shared: Vec::new(),
        };
        let events = [Event::Likened(Box::new(likeness))];
        section(&mut text, &events, &[], Style::Plain);
        insta::assert_snapshot!(text);
    }
}
