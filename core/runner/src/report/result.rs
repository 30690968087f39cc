//! What became of one check, for a person.

use tabled::builder::Builder;
use tabled::settings::Style as TableStyle;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Modify, Padding};
use tlbench_sdk::{Mode, Severity};

use super::human::{line, opening};
use super::printable;
use super::style::{Style, sign};
use crate::events::{BenchmarkResult, Event};
use crate::outcome::{BACKTRACE, UNVERIFIED};

/// How much a report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Details of what did not pass.
    Failures,
    /// Details of everything.
    All,
}

/// The lines of `events` that a person has to know without a report around them: what could not be used, and every check.
pub(crate) fn lines(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        match printable::event(event) {
            event @ (Event::ModelFailed { .. } | Event::PluginProblem { .. }) => {
                opening(&mut text, &event, Style::Plain);
            }
            Event::CheckFinished(result) => {
                let name = match result.check.mode {
                    Mode::Raw => name(&result),
                    mode => format!("{} ({})", name(&result), mode.name()),
                };
                one_result(&mut text, &name, &result, Style::Plain, Detail::Failures);
            }
            _ => {}
        }
    }
    text
}

/// What tells it apart among the results of one model in one mode.
pub(super) fn name(result: &BenchmarkResult) -> String {
    match result.check.variant.as_str() {
        UNVERIFIED => result.check.benchmark.clone(),
        variant => format!("{}/{variant}", result.check.benchmark),
    }
}

pub(super) fn one_result(
    text: &mut String,
    name: &str,
    result: &BenchmarkResult,
    style: Style,
    detail: Detail,
) {
    let verdict = match result.severity {
        Severity::Info | Severity::Warning => "PASS",
        Severity::Danger => "FAIL",
        Severity::Error => "ERROR",
        Severity::Skipped => "SKIP",
    };
    let verdict = style.severity(result.severity, &format!("[{verdict}]"));
    line(
        text,
        format!(
            "{} {verdict} {name}: {}",
            sign(result.severity),
            result.message
        ),
    );
    let shown: Vec<_> = result
        .details
        .iter()
        .filter(|item| match detail {
            Detail::All => true,
            Detail::Failures => result.severity != Severity::Info && item.name != BACKTRACE,
        })
        .collect();
    if !shown.is_empty() {
        let mut table = Builder::new();
        for item in shown {
            table.push_record([item.name.as_str(), item.value.trim_end()]);
        }
        let mut table = table.build();
        table
            .with(TableStyle::empty())
            .with(Padding::new(0, 2, 0, 0))
            .with(Modify::new(Columns::first()).with(Alignment::left()));
        for row in table.to_string().lines() {
            line(text, format!("     {row}"));
        }
    }
}
