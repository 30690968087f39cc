//! The Python process.

use std::ffi::OsStr;
use std::io::{self, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tlbench_sdk::PluginError;

use crate::frame::{Frame, FrameError};
use crate::interpreter::HOW_TO_CHOOSE;
use crate::questions::{Hello, PROTOCOL, Question, Reply};
use crate::stderr::{Tail, last_line};

const BOOTSTRAP: &str = include_str!("worker/bootstrap.py");

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("worker/", $name, ".py")))),*]
    };
}

/// The worker's modules, which the bootstrap imports from the first frame.
const MODULES: [(&str, &str); 11] = modules![
    "attention",
    "checks",
    "loading",
    "main",
    "measure",
    "norms",
    "precision",
    "protocol",
    "record",
    "stimulus",
    "taps",
];

/// How long a process may take to be gone once it has hung up.
const PATIENCE: Duration = Duration::from_secs(2);

/// A worker that has said hello. Ends with its owner.
pub(crate) struct Worker {
    child: Child,
    /// `None` once the conversation has failed.
    pipes: Option<(ChildStdin, BufReader<ChildStdout>)>,
    tail: Tail,
    python: String,
}

impl Worker {
    /// Starts `python`, and waits for it to have imported all that it needs.
    pub(crate) fn start(python: &OsStr, progress: &dyn Fn(&str)) -> Result<Self, PluginError> {
        let name = python.to_string_lossy().into_owned();
        progress(&format!("starting {name}"));
        let mut child = Command::new(python)
            .args(["-c", BOOTSTRAP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| cannot_start(&name, &error))?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(PluginError::internal(format!(
                "`{name}` was started without pipes"
            )));
        };
        let pipes = Some((input, BufReader::new(output)));
        let mut worker = Self {
            child,
            pipes,
            tail: Tail::follow(errors),
            python: name,
        };
        let sources: serde_json::Map<_, _> = MODULES
            .iter()
            .map(|&(name, source)| (name.to_owned(), json!(source)))
            .collect();
        let (hello, _) = worker.converse::<Hello>(&json!(sources), Vec::new(), progress)?;
        if hello.protocol != PROTOCOL {
            let (found, python) = (hello.protocol, &worker.python);
            return Err(PluginError::internal(format!(
                "`{python}` speaks protocol {found} instead of {PROTOCOL}"
            )));
        }
        Ok(worker)
    }

    /// Asks one question, and passes on what the worker says meanwhile.
    pub(crate) fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl Serialize,
        blob: Vec<u8>,
        progress: &dyn Fn(&str),
    ) -> Result<(T, Vec<u8>), PluginError> {
        self.converse(&Question { method, params }, blob, progress)
    }

    fn converse<T: DeserializeOwned>(
        &mut self,
        question: &impl Serialize,
        blob: Vec<u8>,
        progress: &dyn Fn(&str),
    ) -> Result<(T, Vec<u8>), PluginError> {
        let frame = Frame {
            text: serde_json::to_vec(question)?,
            blob,
        };
        match self.exchange(&frame, progress) {
            Ok((Reply::Ok(answer), blob)) => Ok((answer, blob)),
            Ok((Reply::Error(failure), _)) => Err(failure.into()),
            Ok((Reply::Progress(_), _)) => Err(PluginError::internal("progress is no answer")),
            Err(error) => Err(self.give_up(error)),
        }
    }

    /// Sends a question, and reads on until there is an answer.
    fn exchange<T: DeserializeOwned>(
        &mut self,
        question: &Frame,
        progress: &dyn Fn(&str),
    ) -> Result<(Reply<T>, Vec<u8>), FrameError> {
        let (input, output) = self.pipes.as_mut().ok_or(FrameError::Ended)?;
        match question.write(input) {
            // It may have said why before it went.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
        loop {
            let Frame { text, blob } = Frame::read(output)?;
            match serde_json::from_slice(&text) {
                Ok(Reply::Progress(message)) => progress(&message),
                Ok(reply) => return Ok((reply, blob)),
                Err(error) => {
                    return Err(FrameError::Garbage(format!(
                        "an answer that cannot be read ({error})"
                    )));
                }
            }
        }
    }

    /// The conversation is over; says why.
    fn give_up(&mut self, error: FrameError) -> PluginError {
        self.pipes = None;
        let status = if matches!(error, FrameError::Ended) {
            self.wait_for_end()
        } else {
            None
        };
        let python = &self.python;
        let message = match error {
            FrameError::Ended => match status {
                Some(status) => format!("`{python}` ended without an answer ({status})"),
                None => format!("`{python}` hung up without an answer"),
            },
            FrameError::Garbage(what) => {
                format!("`{python}` does not run the worker: it answered with {what}")
            }
            FrameError::Io(error) => format!("the pipe to `{python}` failed: {error}"),
        };
        self.stop();
        let last_words = self.tail.text();
        let message = match last_line(&last_words) {
            Some(line) => format!("{message}: {line}"),
            None => message,
        };
        let backtrace = Some(last_words).filter(|words| !words.is_empty());
        PluginError {
            backtrace,
            ..PluginError::internal(message)
        }
    }

    /// The status of a process that has closed its pipes, unless it lives on.
    fn wait_for_end(&mut self) -> Option<ExitStatus> {
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < patience => thread::sleep(Duration::from_millis(5)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }

    /// Kills and reaps; a process that is gone already is fine.
    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn cannot_start(python: &str, error: &io::Error) -> PluginError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            PluginError::unsupported(format!("`{python}` was not found; {HOW_TO_CHOOSE}"))
        }
        _ => PluginError::io(format!("cannot start `{python}`: {error}")),
    }
}
