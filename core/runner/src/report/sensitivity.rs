//! Which mistakes the suite notices, for a person.

use std::fmt::Write as _;

use tabled::builder::Builder;
use tabled::settings::{Padding, Style as Lines};
use tlbench_sdk::judge::ratio_text;
use tlbench_sdk::{Quantity, Severity};

use super::human::line;
use super::style::Style;
use crate::events::Event;
use crate::sensitivity::{Catch, FaultJudged, FaultOutcome, RecognitionScore, Score, judged};

/// A table for each model that mistakes were put into.
pub(super) fn section(text: &mut String, events: &[Event], style: Style) {
    for event in events {
        if let Event::SensitivityScored(score) = event {
            let of_model = judged(events).filter(|one| one.model == score.model);
            one_model(text, score, of_model, style);
        }
    }
}

fn one_model<'a>(
    text: &mut String,
    score: &Score,
    judged: impl Iterator<Item = &'a FaultJudged>,
    style: Style,
) {
    let judged: Vec<&FaultJudged> = judged.collect();
    let against = judged.first().map_or(String::new(), |first| {
        format!(
            " against {}, tier {}, {}",
            first.reference,
            first.tier.number(),
            first.tier.name()
        )
    });
    text.push('\n');
    line(
        text,
        style.strong(&format!(
            "SENSITIVITY of the suite on {}{against}",
            score.model
        )),
    );
    let mut table = Builder::new();
    table.push_record(["fault", "", "by", "first at", "ratio"]);
    for one in &judged {
        table.push_record(row(one));
    }
    let mut table = table.build();
    table.with(Lines::empty()).with(Padding::new(2, 1, 0, 0));
    for row in table.to_string().lines() {
        line(text, row);
    }
    text.push('\n');
    for one in &judged {
        unnoticed(text, one, style);
        unrecognised(text, one);
    }
    line(text, summary(score, style));
    if let Some(recognition) = &score.recognition {
        line(text, recognised(*recognition));
    }
}

fn row(judged: &FaultJudged) -> [String; 5] {
    let [outcome, by, at, ratio] = match &judged.outcome {
        FaultOutcome::Caught { by, .. } => caught(by),
        FaultOutcome::Refused { .. } => ["caught", "it cannot be run", "", ""].map(str::to_owned),
        FaultOutcome::Missed { moved } => [
            "MISSED".to_owned(),
            String::new(),
            moved.quantity.clone(),
            ratio_text(moved.ratio),
        ],
        FaultOutcome::NotAsked { .. } => ["NOT ASKED", "", "", ""].map(str::to_owned),
        FaultOutcome::NotExercised { .. } => ["NOT EXERCISED", "", "", ""].map(str::to_owned),
        FaultOutcome::MovesNothing => ["moves nothing", "", "", ""].map(str::to_owned),
    };
    [judged.fault.id.clone(), outcome, by, at, ratio]
}

fn caught(by: &Catch) -> [String; 4] {
    let check = format!(
        "{} ({}, {})",
        by.check.benchmark,
        by.check.mode.name(),
        by.check.variant
    );
    let (at, ratio) = match &by.first_divergence {
        Some(divergence) => (place(&divergence.quantity), ratio_text(divergence.ratio)),
        None => (String::new(), String::new()),
    };
    ["caught".to_owned(), check, at, ratio]
}

fn place(quantity: &Quantity) -> String {
    let hook = quantity.as_hook();
    hook.map_or_else(|| quantity.to_string(), str::to_owned)
}

/// What a suite that has not noticed a mistake would need.
fn unnoticed(text: &mut String, judged: &FaultJudged, style: Style) {
    let FaultJudged { fault, outcome, .. } = judged;
    let why = match outcome {
        FaultOutcome::Caught { .. } | FaultOutcome::Refused { .. } => return,
        FaultOutcome::Missed { .. } => style.severity(
            Severity::Danger,
            "missed although it moves what the inputs give",
        ),
        FaultOutcome::NotAsked { run, moved } => format!(
            "not asked: {run} shows it ({}), and no chosen benchmark looks there",
            moved.quantity
        ),
        FaultOutcome::NotExercised {
            elsewhere: Some(moved),
        } => format!(
            "not exercised: these inputs do not show it, others do ({})",
            moved.quantity
        ),
        FaultOutcome::NotExercised { elsewhere: None } => {
            "not exercised: these inputs do not show it, and too few others were tried, or too short ones"
                .to_owned()
        }
        FaultOutcome::MovesNothing => {
            "moves nothing: no kind of run shows it, neither on these inputs nor on random ones"
                .to_owned()
        }
    };
    let mut told = format!("{}: the model has {}: {why}", fault.id, fault.description);
    if !fault.shown_by.is_empty() {
        let _ = write!(told, "; what shows it: {}", fault.shown_by);
    }
    line(text, told);
}

/// A mistake that was caught, and not found where it is or not named.
fn unrecognised(text: &mut String, judged: &FaultJudged) {
    let Some(one) = &judged.recognition else {
        return;
    };
    let id = &judged.fault.id;
    if !one.is_located {
        let found = one.found.as_deref().unwrap_or("nowhere");
        let expected = &one.expected;
        line(text, format!("{id}: made at {expected}, found at {found}"));
    }
    match (&one.finding, one.named) {
        (_, Some(0)) => {}
        (Some(finding), Some(place)) => {
            line(text, format!("{id}: named {}. after: {finding}", place + 1));
        }
        (Some(finding), None) => line(text, format!("{id}: taken for: {finding}")),
        (None, _) => line(text, format!("{id}: no repair fits")),
    }
}

fn recognised(score: RecognitionScore) -> String {
    let RecognitionScore {
        asked,
        located_by_divergence,
        located,
        diagnosed,
    } = score;
    let share = |count: usize| 100.0 * count as f64 / asked.max(1) as f64;
    format!(
        "of {asked} that a spec can say {located_by_divergence} ({:.1}%) found where they are by the first divergence, \
         {located} ({:.1}%) with what explains it, {diagnosed} ({:.1}%) named",
        share(located_by_divergence),
        share(located),
        share(diagnosed)
    )
}

fn summary(score: &Score, style: Style) -> String {
    let Score {
        applicable,
        caught,
        missed,
        not_asked,
        not_exercised,
        not_excitable,
        ..
    } = score;
    let share = 100.0 * score.share();
    let severity = if score.is_too_low() {
        Severity::Danger
    } else {
        Severity::Info
    };
    let bound = score.minimum.map_or(String::new(), |minimum| {
        format!(", at least {:.1}% asked for", 100.0 * minimum)
    });
    let verdict = style.severity(severity, &format!("sensitivity {share:.1}%{bound}"));
    format!(
        "{verdict}: of {applicable} mistakes {caught} caught, {missed} missed, {not_asked} not asked about, \
         {not_exercised} not exercised, {not_excitable} that nothing shows"
    )
}
