//! Colour, where it is wanted.

use anstyle::{AnsiColor, Style as Ansi};
use tlbench_sdk::Severity;

/// Whether a report has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// ANSI escapes.
    Coloured,
}

impl Style {
    /// `text` in the colour of `severity`.
    pub(super) fn severity(self, severity: Severity, text: &str) -> String {
        let colour = match severity {
            Severity::Info => AnsiColor::Green,
            Severity::Warning => AnsiColor::Yellow,
            Severity::Danger | Severity::Error => AnsiColor::Red,
            Severity::Skipped => AnsiColor::Cyan,
        };
        self.paint(Ansi::new().fg_color(Some(colour.into())), text)
    }

    /// `text` emphasised.
    pub(super) fn strong(self, text: &str) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    fn paint(self, style: Ansi, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("{style}{text}{style:#}"),
        }
    }
}

/// The sign of a severity, as TransformerLens shows it.
pub(super) const fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "🟢",
        Severity::Warning => "🟡",
        Severity::Danger => "🔴",
        Severity::Error => "❌",
        Severity::Skipped => "⏭️",
    }
}
