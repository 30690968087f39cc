//! The pipes to and from a process, each with a thread to wait for it: a pipe can be full, or empty, for ever.

use std::cell::Cell;
use std::io::{self, BufReader};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use crate::frame::{Frame, FrameError};

/// How often the clock is read while there is nothing to hear.
const STEP: Duration = Duration::from_secs(1);

/// Frames to and from a process. Dropped, it closes both pipes as soon as its threads notice.
#[derive(Debug)]
pub(crate) struct Pipes {
    outbox: Sender<Frame>,
    inbox: Receiver<Result<Frame, FrameError>>,
    /// Set once a pipe has failed: the thread of the other one may take a moment to notice.
    is_over: Cell<bool>,
}

impl Pipes {
    pub(crate) fn new(mut input: ChildStdin, output: ChildStdout) -> io::Result<Self> {
        let (outbox, outgoing) = channel::<Frame>();
        let (incoming, inbox) = channel();
        let failures = incoming.clone();
        spawn("python-write", move || {
            for frame in outgoing {
                match frame.write(&mut input) {
                    Ok(()) => {}
                    // It may have said why before it went.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                    Err(error) => {
                        let _ = failures.send(Err(FrameError::Io(error)));
                        return;
                    }
                }
            }
        })?;
        spawn("python-read", move || {
            let mut output = BufReader::new(output);
            loop {
                let frame = Frame::read(&mut output);
                let is_last = frame.is_err();
                if incoming.send(frame).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self {
            outbox,
            inbox,
            is_over: Cell::new(false),
        })
    }

    /// Lets a frame be written. What becomes of it shows in what is received next.
    pub(crate) fn send(&self, frame: Frame) {
        let _ = self.outbox.send(frame);
    }

    /// The next frame, or that there was none for so long. A process that was stopped and goes on has not waited.
    pub(crate) fn receive(&self, patience: Duration) -> Result<Frame, FrameError> {
        let received = self.wait(patience);
        if !matches!(received, Ok(_) | Err(FrameError::Silence)) {
            self.is_over.set(true);
        }
        received
    }

    fn wait(&self, patience: Duration) -> Result<Frame, FrameError> {
        let mut left = patience;
        loop {
            let step = left.min(STEP);
            match self.inbox.recv_timeout(step) {
                Ok(frame) => return frame,
                Err(RecvTimeoutError::Disconnected) => return Err(FrameError::Ended),
                Err(RecvTimeoutError::Timeout) if left > step => left -= step,
                Err(RecvTimeoutError::Timeout) => return Err(FrameError::Silence),
            }
        }
    }

    /// Whether the other side is there, and waits.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_over.get() && matches!(self.inbox.try_recv(), Err(TryRecvError::Empty))
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work)?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_full_pipe_keeps_nobody_waiting() {
        let mut deaf = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (deaf.stdin.take().unwrap(), deaf.stdout.take().unwrap());
        let pipes = Pipes::new(input, output).unwrap();
        let started = Instant::now();
        for _ in 0..2 {
            pipes.send(Frame {
                text: b"{}".to_vec(),
                // Far more than a pipe holds.
                blob: vec![0; 8 << 20],
            });
            let heard = pipes.receive(Duration::from_millis(50));
            assert!(matches!(heard, Err(FrameError::Silence)), "{heard:?}");
        }
        assert!(pipes.is_idle());
        assert!(started.elapsed() < Duration::from_secs(30));
        deaf.kill().unwrap();
        deaf.wait().unwrap();
        let heard = pipes.receive(Duration::from_secs(30));
        assert!(matches!(heard, Err(FrameError::Ended)), "{heard:?}");
        assert!(!pipes.is_idle());
    }
}
