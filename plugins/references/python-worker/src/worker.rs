//! The Python process, and the conversation with it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tlbench_sdk::PluginError;

use crate::ending::{Ending, Obituary};
use crate::frame::{Frame, FrameError};
use crate::options::Options;
use crate::pipes::Pipes;
use crate::program::{BOOTSTRAP, Program};
use crate::protocol::{Hello, Method, PROTOCOL, Question, Reply};
use crate::stderr::{Tail, telling_line};

/// How long a process may take to be gone once it has hung up, or was hung up on.
const PATIENCE: Duration = Duration::from_secs(2);

/// A worker that has said hello. Ends with its owner.
#[derive(Debug)]
pub(crate) struct Worker {
    program: &'static Program,
    /// The interpreter, as it was asked for.
    python: OsString,
    child: Child,
    /// Or why the conversation is over.
    pipes: Result<Pipes, PluginError>,
    tail: Tail,
    /// How long it may be silent.
    timeout: Duration,
    /// What it said last that it was doing.
    doing: String,
}

impl Worker {
    /// Starts a Python, and waits for it to have imported all that it needs.
    pub(crate) fn start(
        program: &'static Program,
        options: &Options,
        progress: &dyn Fn(&str),
    ) -> Result<Self, PluginError> {
        let python = &options.python;
        let doing = format!("starting {}", python.display());
        progress(&doing);
        let manifest = program.manifest()?;
        let mut child = Command::new(python)
            .args(["-S", "-c", BOOTSTRAP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| cannot_start(program, python, &error))?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(PluginError::internal(format!(
                "`{}` was started without pipes",
                python.display()
            )));
        };
        let mut worker = Self {
            program,
            python: python.clone(),
            child,
            pipes: Pipes::new(input, output).map_err(|error| {
                PluginError::io(format!("cannot start a thread to wait for Python: {error}"))
            }),
            tail: Tail::follow(errors),
            timeout: options.timeout,
            doing,
        };
        let (hello, _) = worker.converse::<Hello>(&manifest, Vec::new(), progress)?;
        if hello.protocol != PROTOCOL {
            let (found, python) = (hello.protocol, worker.python.display());
            return Err(PluginError::internal(format!(
                "`{python}` speaks protocol {found} instead of {PROTOCOL}"
            )));
        }
        Ok(worker)
    }

    /// Asks one question, and passes on what the worker says meanwhile.
    pub(crate) fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        params: impl Serialize,
        blob: Vec<u8>,
        progress: &dyn Fn(&str),
    ) -> Result<(T, Vec<u8>), PluginError> {
        method.doing.clone_into(&mut self.doing);
        let method = method.name;
        self.converse(&Question { method, params }, blob, progress)
    }

    /// Whether `python` is what it runs in.
    pub(crate) fn runs(&self, python: &OsStr) -> bool {
        self.python == python
    }

    /// Whether it is there, and waits for a question.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.pipes.as_ref().is_ok_and(Pipes::is_idle) && matches!(self.child.try_wait(), Ok(None))
    }

    /// Sets how long it may be silent from now on.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
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
        let pipes = self.pipes.as_ref().map_err(Clone::clone)?;
        pipes.send(frame);
        match listen(pipes, self.timeout, &mut self.doing, progress) {
            Ok((answer, blob)) => Ok((answer?, blob)),
            Err(error) => Err(self.give_up(error)),
        }
    }

    /// The conversation is over; says why.
    fn give_up(&mut self, error: FrameError) -> PluginError {
        // At the end of its input a worker that hangs writes down where, and goes.
        self.pipes = Err(PluginError::internal("the conversation is over"));
        let ending = match error {
            FrameError::Ended => match self.wait_for_end() {
                Some(status) => Ending::Died(status),
                None => Ending::HungUp,
            },
            FrameError::Silence => {
                self.wait_for_end();
                Ending::Silence(self.timeout)
            }
            FrameError::Garbage(what) => Ending::Garbage(what),
            FrameError::Io(error) => Ending::Io(error),
        };
        self.stop();
        let last_words = self.tail.text();
        let obituary = Obituary {
            reference: self.program.reference,
            python: &self.python.display().to_string(),
            doing: &self.doing,
            ending: &ending,
            last_line: telling_line(&last_words),
        };
        let message = obituary.to_string();
        let backtrace = Some(last_words).filter(|words| !words.is_empty());
        let error = PluginError {
            backtrace,
            ..PluginError::internal(message)
        };
        self.pipes = Err(error.clone());
        error
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

/// Reads on until there is an answer, or the worker's own account of why there is none.
fn listen<T: DeserializeOwned>(
    pipes: &Pipes,
    timeout: Duration,
    doing: &mut String,
    progress: &dyn Fn(&str),
) -> Result<(Result<T, PluginError>, Vec<u8>), FrameError> {
    loop {
        let Frame { text, blob } = pipes.receive(timeout)?;
        match serde_json::from_slice(&text) {
            Ok(Reply::Progress(message)) => {
                progress(&message);
                *doing = message;
            }
            Ok(Reply::Ok(answer)) => return Ok((Ok(answer), blob)),
            Ok(Reply::Error(failure)) => return Ok((Err(failure.while_doing(doing)), blob)),
            Err(error) => {
                return Err(FrameError::Garbage(format!(
                    "an answer that cannot be read ({error})"
                )));
            }
        }
    }
}

fn cannot_start(program: &Program, python: &OsStr, error: &io::Error) -> PluginError {
    let python = python.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            let remedy = program.how_to_choose();
            PluginError::unsupported(format!("`{python}` was not found; {remedy}"))
        }
        _ => PluginError::io(format!("cannot start `{python}`: {error}")),
    }
}
