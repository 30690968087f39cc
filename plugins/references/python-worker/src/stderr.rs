//! What the worker says on standard error: drained, so that it never blocks, and kept for when it dies.

use std::io::Read;
use std::process::ChildStderr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const KEPT: usize = 8 << 10;

/// The last words of a process.
#[derive(Debug)]
pub(crate) struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    drain: Option<JoinHandle<()>>,
}

impl Tail {
    /// Drains `stderr` on a thread, which ends with the pipe.
    pub(crate) fn follow(mut stderr: ChildStderr) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&kept);
        let drain = thread::Builder::new()
            .name("python-stderr".to_owned())
            .spawn(move || {
                let mut chunk = [0; 1024];
                while let Ok(read @ 1..) = stderr.read(&mut chunk) {
                    let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend_from_slice(&chunk[..read]);
                    let surplus = kept.len().saturating_sub(KEPT);
                    kept.drain(..surplus);
                }
            });
        Self {
            kept,
            drain: drain.ok(),
        }
    }

    /// All that was kept, of a process that has ended. Waits a moment for the rest, but not for a grandchild that holds
    /// the pipe open.
    pub(crate) fn text(&self) -> String {
        let patience = Instant::now() + Duration::from_secs(1);
        while self
            .drain
            .as_ref()
            .is_some_and(|drain| !drain.is_finished())
            && Instant::now() < patience
        {
            thread::sleep(Duration::from_millis(5));
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }
}

/// The line that says most: Python's own on a crash, as the stack comes after it, or the last that is not blank.
pub(crate) fn telling_line(text: &str) -> Option<&str> {
    // A progress bar overwrites its line.
    let mut lines = text.split(['\n', '\r']).map(str::trim);
    lines
        .clone()
        .rfind(|line| line.starts_with("Fatal Python error: "))
        .or_else(|| lines.rfind(|line| !line.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_line() {
        let crash = "a warning\nFatal Python error: Aborted\n\nThread 0x1 (most recent call first):\n  File\n";
        for (text, line) in [
            ("Traceback:\n  File\nMemoryError\n\n", Some("MemoryError")),
            ("loading 10%\rloading 90%\r", Some("loading 90%")),
            (crash, Some("Fatal Python error: Aborted")),
            (" \n", None),
        ] {
            assert_eq!(telling_line(text), line);
        }
    }
}
