//! What happens while a model is fetched.

use std::fmt;
use std::time::{Duration, Instant};

use crate::id::HubId;

/// How often the bytes that arrived are told.
const TELLING: Duration = Duration::from_millis(100);

/// Something that happens while a model is fetched.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// It is known what is to be downloaded.
    Planned {
        /// The model.
        id: &'a HubId,
        /// How many files.
        files: usize,
        /// How many bytes they have.
        bytes: u64,
    },
    /// Another process downloads the same file.
    Waiting {
        /// The file.
        file: &'a str,
    },
    /// An attempt failed, and there will be another.
    Retrying {
        /// The file.
        file: &'a str,
        /// What happened.
        reason: String,
    },
    /// Bytes arrived.
    Arrived(Transfer<'a>),
}

/// How far a file has arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are there, those of earlier runs among them.
    pub done: u64,
    /// Bytes that it has.
    pub total: u64,
    /// Of this run.
    pub bytes_per_second: f64,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned { id, files, bytes } => {
                let plural = if *files == 1 { "" } else { "s" };
                write!(
                    f,
                    "downloading {id}: {files} file{plural}, {}",
                    Bytes(*bytes)
                )
            }
            Self::Waiting { file } => {
                write!(f, "{file}: waiting for another process that downloads it")
            }
            Self::Retrying { file, reason } => write!(f, "{file}: trying again: {reason}"),
            Self::Arrived(transfer) => write!(
                f,
                "{}: {} of {}",
                transfer.file,
                Bytes(transfer.done),
                Bytes(transfer.total)
            ),
        }
    }
}

/// A number of bytes, as people read it.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
        let bytes = self.0 as f64;
        match units.iter().find(|(size, _)| bytes >= *size) {
            Some((size, unit)) => write!(f, "{:.1} {unit}", bytes / size),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Tells of a transfer now and then.
pub(crate) struct Meter<'a> {
    watch: &'a dyn Fn(Step<'_>),
    file: &'a str,
    total: u64,
    first: u64,
    started: Instant,
    told: Option<Instant>,
}

impl<'a> Meter<'a> {
    /// For `file`, of which `first` bytes are there already.
    pub(crate) fn new(watch: &'a dyn Fn(Step<'_>), file: &'a str, first: u64, total: u64) -> Self {
        Self {
            watch,
            file,
            total,
            first,
            started: Instant::now(),
            told: None,
        }
    }

    /// `done` bytes are there.
    pub(crate) fn arrived(&mut self, done: u64) {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TELLING);
        if is_due && done < self.total {
            self.told = Some(Instant::now());
            self.tell(done);
        }
    }

    /// All of it is there.
    pub(crate) fn finish(&self) {
        self.tell(self.total);
    }

    fn tell(&self, done: u64) {
        let seconds = self.started.elapsed().as_secs_f64();
        (self.watch)(Step::Arrived(Transfer {
            file: self.file,
            done,
            total: self.total,
            // Bytes that were thrown away in between count for nothing.
            bytes_per_second: done.saturating_sub(self.first) as f64 / seconds.max(1e-3),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_as_shops_count_them() {
        let shown = [0, 999, 1000, 548_105_171, 13_476_831_232].map(|n| Bytes(n).to_string());
        assert_eq!(
            shown,
            ["0 bytes", "999 bytes", "1.0 kB", "548.1 MB", "13.5 GB"]
        );
    }
}
