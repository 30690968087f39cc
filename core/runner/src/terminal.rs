//! Results on stdout, progress and errors on stderr.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use tlbench::events::{Event, EventLog, EventSink};
use tlbench::report::{Style, printable};
use tlbench_hub::Bytes;

/// The two streams.
pub(crate) struct Terminal {
    log: EventLog,
    progress: Progress,
}

enum Progress {
    Hidden,
    /// One line that is written over and over.
    Live(Mutex<usize>),
    /// A line each, for logs.
    Lines,
}

impl Terminal {
    pub(crate) fn new(quiet: bool) -> Self {
        let progress = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Progress::Hidden,
            (false, true) => Progress::Live(Mutex::new(0)),
            (false, false) => Progress::Lines,
        };
        Self {
            log: EventLog::default(),
            progress,
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.events()
    }

    /// Whether the report may have colours: `NO_COLOR` and `CLICOLOR_FORCE` are honoured.
    pub(crate) fn style() -> Style {
        match anstream::AutoStream::choice(&std::io::stdout()) {
            anstream::ColorChoice::Never => Style::Plain,
            _ => Style::Coloured,
        }
    }

    /// Writes a result.
    pub(crate) fn print(&self, text: &str) {
        self.clear();
        // A reader that went away (`| head`) is no failure.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    /// Writes an error.
    pub(crate) fn error(&self, message: &str) {
        self.clear();
        let _ = writeln!(std::io::stderr().lock(), "error: {message}");
    }

    /// Takes the progress line away.
    fn clear(&self) {
        if let Progress::Live(width) = &self.progress
            && let Ok(mut width) = width.lock()
            && *width > 0
        {
            let _ = write!(
                std::io::stderr().lock(),
                "\r{:width$}\r",
                "",
                width = *width
            );
            *width = 0;
        }
    }

    /// A bar while it lasts; in a log a line once it is over.
    fn show_download(&self, file: &str, done: u64, total: u64, bytes_per_second: f64) {
        let rate = Bytes(bytes_per_second as u64);
        let all = Bytes(total);
        match self.progress {
            Progress::Hidden => {}
            Progress::Live(_) => {
                let (bar, here) = (bar(done, total), Bytes(done));
                self.show(&format!("{bar} {here} of {all}, {rate}/s  {file}"));
            }
            Progress::Lines if done == total => self.show(&format!("{file}: {all}, {rate}/s")),
            Progress::Lines => {}
        }
    }

    fn show(&self, message: &str) {
        let message = printable(message);
        match &self.progress {
            Progress::Hidden => {}
            Progress::Live(width) => {
                let Ok(mut width) = width.lock() else { return };
                let line: String = message.chars().take(100).collect();
                let shown = line.chars().count();
                let _ = write!(std::io::stderr().lock(), "\r{line:<pad$}", pad = *width);
                *width = shown;
            }
            Progress::Lines => {
                let _ = writeln!(std::io::stderr().lock(), "{message}");
            }
        }
    }
}

impl EventSink for Terminal {
    fn emit(&self, event: Event) {
        match &event {
            Event::Progress { message } => self.show(message),
            // Checks come and go too fast for a log.
            Event::CheckStarted { check } if matches!(self.progress, Progress::Live(_)) => {
                self.show(&check.to_string());
            }
            Event::Download {
                file,
                done,
                total,
                bytes_per_second,
            } => self.show_download(file, *done, *total, *bytes_per_second),
            _ => {}
        }
        self.log.emit(event);
    }
}

/// How much of `total` is there.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: usize = 20;
    let share = done as f64 / total.max(1) as f64;
    let filled = ((share * WIDTH as f64) as usize).min(WIDTH);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_when_everything_is_there() {
        assert_eq!(bar(0, 3), "[....................]");
        assert_eq!(bar(1, 3), "[######..............]");
        assert_eq!(bar(2, 3), "[#############.......]");
        assert_eq!(bar(3, 3), "[####################]");
        assert_eq!(bar(0, 0), "[....................]");
    }
}
