//! How a conversation with a Python ended, in one line.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The process is gone.
    Died(ExitStatus),
    /// It closed its pipe and stayed.
    HungUp,
    /// It said nothing for so long.
    Silence(Duration),
    /// What it said makes no sense.
    Garbage(String),
    /// The pipe failed.
    Io(io::Error),
}

/// The end of one process.
pub(crate) struct Obituary<'a> {
    /// Whose it was.
    pub(crate) reference: &'a str,
    pub(crate) python: &'a str,
    /// What it said last that it was doing.
    pub(crate) doing: &'a str,
    pub(crate) ending: &'a Ending,
    /// The line that says most of what it wrote on standard error.
    pub(crate) last_line: Option<&'a str>,
}

impl fmt::Display for Obituary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reference,
            python,
            doing,
            ..
        } = self;
        match self.ending {
            Ending::Died(status) if is_killed(*status) => write!(
                f,
                "`{python}` was killed ({status}) at `{doing}`; the system may have run out of memory"
            ),
            Ending::Died(status) => {
                write!(
                    f,
                    "`{python}` ended without an answer ({status}) at `{doing}`"
                )
            }
            Ending::HungUp => write!(f, "`{python}` hung up without an answer at `{doing}`"),
            Ending::Silence(patience) => write!(
                f,
                "`{python}` was silent for {} s at `{doing}`, and was stopped; `timeout` in [reference.{reference}] sets \
                 how many seconds it may be",
                patience.as_secs_f64()
            ),
            Ending::Garbage(what) => write!(
                f,
                "`{python}` does not run the worker: it answered with {what}"
            ),
            Ending::Io(error) => write!(f, "the pipe to `{python}` failed: {error}"),
        }?;
        match (self.ending, self.last_line) {
            // What it wrote last has nothing to do with that it says nothing more.
            (Ending::Silence(_), _) | (_, None) => Ok(()),
            (_, Some(line)) => write!(f, ": {line}"),
        }
    }
}

/// Nobody else kills by SIGKILL as readily as a system that runs out of memory. A shell between says it in its own way.
fn is_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    #[cfg(unix)]
    if std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGKILL) {
        return true;
    }
    cfg!(unix) && status.code() == Some(128 + SIGKILL)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn every_ending_in_one_line() {
        let said = |ending, last_line| {
            Obituary {
                reference: "hf-python",
                python: "python3",
                doing: "text: computing the truth in f64",
                ending: &ending,
                last_line,
            }
            .to_string()
        };
        let died = |status| Ending::Died(ExitStatus::from_raw(status));
        let refused = io::Error::other("no space left");
        insta::assert_snapshot!(
            [
                said(
                    died(3 << 8),
                    Some("ModuleNotFoundError: No module named 'encodings'")
                ),
                said(died(11), Some("Fatal Python error: Segmentation fault")),
                said(died(9), None),
                said(died(137 << 8), Some("Killed")),
                said(Ending::HungUp, None),
                said(Ending::Silence(Duration::from_secs(600)), None),
                said(
                    Ending::Garbage("a message that begins with \"Welc\"".to_owned()),
                    None
                ),
                said(Ending::Io(refused), None),
            ]
            .join("\n")
        );
    }
}
